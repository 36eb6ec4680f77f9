"""The commands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from qzhou_eval import __version__
from qzhou_eval.cli.cmteb import cmteb
from qzhou_eval.cli.compare import compare
from qzhou_eval.cli.demo import demo
from qzhou_eval.cli.doctor import doctor
from qzhou_eval.cli.encode import encode
from qzhou_eval.cli.export import export
from qzhou_eval.cli.fetch import fetch
from qzhou_eval.cli.mteb import mteb
from qzhou_eval.cli.plan import plan
from qzhou_eval.cli.prompts import prompts
from qzhou_eval.cli.report import report
from qzhou_eval.cli.run import run

app = typer.Typer(
    name="qzhou-eval",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
SUITES = "Run a suite"
PREPARE = "Prepare"
LOOK = "Look closer"

app.command(rich_help_panel=SUITES)(cmteb)
app.command(rich_help_panel=SUITES)(mteb)
app.command(rich_help_panel=SUITES)(run)
app.command(rich_help_panel=SUITES)(demo)
app.command(rich_help_panel=PREPARE)(fetch)
app.command(rich_help_panel=LOOK)(plan)
app.command(rich_help_panel=LOOK)(report)
app.command(rich_help_panel=LOOK)(compare)
app.command(rich_help_panel=LOOK)(export)
app.command(rich_help_panel=LOOK)(doctor)
app.command(rich_help_panel=LOOK)(prompts)
app.command(rich_help_panel=LOOK)(encode)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"qzhou-eval {__version__}")
        raise typer.Exit


@app.callback()
def qzhou_eval(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error came from (in any place).")
    ] = False,
) -> None:
    """Reproduce text-embedding leaderboard rows, and be told whether they came out again."""
