"""``qzhou-eval report``: tables from result folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...", help="Run folders, or folders holding them.", show_default=False
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="OUT",
            help="Write leaderboard.csv, tasks.csv and leaderboard.md into this folder.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make leaderboard tables from result folders, of one or many models."""
    from rich.console import Console

    from qzhou_eval.errors import UserError, plain
    from qzhou_eval.report.files import write_leaderboard
    from qzhou_eval.report.terminal import print_leaderboard
    from qzhou_eval.scores.run_folders import find_run_folders, read_run_folder

    rows = [row for folder in find_run_folders(folders) for row in read_run_folder(folder)]
    if not rows:
        names = ", ".join(map(str, folders))
        raise UserError(f"{names}: no scores of any suite's splits and subsets in the results")
    console = Console(highlight=False)
    written = write_leaderboard(rows, output) if output is not None else []
    print_leaderboard(rows, console)
    for path in written:
        console.print(plain(f"wrote {path}"), soft_wrap=True, markup=False)
