"""Running the command line: inside the tests' process, where mteb is already imported, or apart."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from qzhou_eval.cli import _run
from qzhou_eval.cli.app import app

ROOT = Path(__file__).parents[1]
WITHOUT_SIZES = """
import sys
from pathlib import Path
import qzhou_eval.suite.sizes as sizes
sizes.SIZES = Path(sys.argv.pop(1))
from qzhou_eval.cli import main
main()
"""
"""The command line, which knows no published sizes: the tests' data is a part of the real."""


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


def command(tmp_path, *arguments, **environment):
    sizes = tmp_path / "sizes.csv"
    sizes.write_text("task,dataset,split,subset,side,language,texts,characters,stored,origin\n")
    kept = {k: v for k, v in os.environ.items() if not k.endswith("_OFFLINE")}
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_SIZES, str(sizes), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=240,
        env={
            **kept,
            "HF_HOME": str(tmp_path / "home"),
            "QZHOU_EVAL_CACHE": str(tmp_path / "cache"),
            "PYTHONPATH": str(ROOT),
            **environment,
        },
    )
