import subprocess
import sys

import pytest

COMMANDS = (
    "cmteb",
    "mteb",
    "run",
    "demo",
    "plan",
    "report",
    "prompts",
    "encode",
    "fetch",
    "export",
)
HEAVY = ("torch", "transformers", "mteb", "datasets", "pandas", "numpy", "sentence_transformers")


def test_help_lists_the_commands(cli):
    outcome = cli("--help")
    assert outcome.code == 0
    assert all(command in outcome.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli, command):
    outcome = cli(command, "--help")
    assert outcome.code == 0
    assert "Usage: qzhou-eval " + command in outcome.out


def test_help_imports_nothing_heavy():
    """What makes --help answer in a fraction of a second."""
    program = (
        "import sys\n"
        "from qzhou_eval.cli import _run\n"
        "from qzhou_eval.cli.app import app\n"
        "assert _run(app, ['cmteb', '--help'], False) == 0\n"
        "print('LOADED', *(name for name in sys.argv[1:] if name in sys.modules))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, *HEAVY], check=True, capture_output=True, text=True
    )
    assert found.stdout.splitlines()[-1].split() == ["LOADED"]


def test_version(cli):
    from qzhou_eval import __version__

    assert cli("--version").out == f"qzhou-eval {__version__}\n"
