"""``qzhou-eval export``: a folder the leaderboard's results repository accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

REFUSED = 2


def _option(name: str, metavar: str | None, text: str) -> Any:
    return typer.Option(name, metavar=metavar, help=text, show_default=False)


def export(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="A run's folder, or one above exactly one.", show_default=False
        ),
    ],
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="Where results/<org>__<name>/<revision> goes; a checkout of the results "
            "repository, say.",
            show_default=False,
        ),
    ],
    suites: Annotated[
        str,
        _option(
            "--suites",
            "NAMES",
            "Only these suites: cmteb, mteb or both; by default those that were run.",
        ),
    ] = "",
    tasks: Annotated[str, _option("--tasks", "NAMES", "Only these tasks, comma-separated.")] = "",
    partial: Annotated[
        bool, _option("--partial", None, "The tasks that have a result, though others have none.")
    ] = False,
    model_name: Annotated[
        str, _option("--model-name", "ORG/NAME", "The model's name on the hub.")
    ] = "",
    revision: Annotated[
        str, _option("--revision", "COMMIT", "The model's commit on the hub, 40 hex digits.")
    ] = "",
    allow_fast: Annotated[
        bool, _option("--allow-fast", None, "Results of fast mode, too; they are refused without.")
    ] = False,
) -> int:
    """Check a run's results and write them as the leaderboard's results repository takes them.

    All that is wrong is told at once, and then nothing is written.
    """
    from qzhou_eval.cli.options import comma_separated
    from qzhou_eval.errors import UserError, plain
    from qzhou_eval.report.submission.choice import Choice
    from qzhou_eval.report.submission.placing import write
    from qzhou_eval.report.submission.refusal import NotExportedError
    from qzhou_eval.report.submission.submission import prepare
    from qzhou_eval.report.submission.telling import summary_lines
    from qzhou_eval.scores.result_folder import open_result_folder
    from qzhou_eval.scores.run_folders import find_run_folders

    chosen = {"--suites": suites, "--tasks": tasks}
    names = {option: comma_separated(value) for option, value in chosen.items()}
    for option, value in chosen.items():
        if value and not names[option]:
            raise UserError(f"{option} {value!r}: expected names, comma-separated")
    choice = Choice(names["--suites"], names["--tasks"], partial)
    try:
        folders = find_run_folders([folder])
        if len(folders) > 1:
            raise NotExportedError(folder, [f"{path}: name one run folder" for path in folders])
        results = open_result_folder(folders[0])
        submission = prepare(
            results,
            output,
            choice,
            model_name=model_name,
            revision=revision,
            allow_fast=allow_fast,
        )
    except NotExportedError as error:
        typer.echo(f"error: {error.heading}", err=True)
        for problem in error.problems:
            typer.echo(f"  {problem}", err=True)
        return REFUSED
    write(submission.placing)
    for line in summary_lines(submission, results):
        typer.echo(plain(line))
    return 0
