"""Running the command line inside the tests' process, where mteb is already imported."""

from dataclasses import dataclass

from qzhou_eval.cli import _run
from qzhou_eval.cli.app import app


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line an error is told in."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, f"expected one line of error, got {self.err!r}"
        return lines[0]


def invoke(arguments, capsys) -> Outcome:
    code = _run(app, [str(argument) for argument in arguments], debug=False)
    captured = capsys.readouterr()
    return Outcome(code, captured.out, captured.err)
