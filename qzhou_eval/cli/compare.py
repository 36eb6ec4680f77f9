"""``qzhou-eval compare``: did a published row come out again?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from qzhou_eval.scores.comparison import Comparison

FORMATS = ("table", "json", "csv", "md")
NOT_REPRODUCED = 1


def compare(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A run's folder, or one above it.", show_default=False),
    ],
    published: Annotated[
        str,
        typer.Option(
            "--published",
            metavar="MODEL",
            help="Whose published scores; by default those of the folder's own model.",
            show_default=False,
        ),
    ] = "",
    tasks: Annotated[
        str,
        typer.Option(
            "--tasks",
            metavar="NAMES",
            help="Only these tasks, comma-separated.",
            show_default=False,
        ),
    ] = "",
    output_format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="table, json, csv or md.")
    ] = "table",
) -> int:
    """Say, task by task, whether a published row was reproduced; exit 0 only if it was."""
    from qzhou_eval.cli.options import comma_separated
    from qzhou_eval.errors import NothingToCompareError, UserError, nearest
    from qzhou_eval.scores.comparison import compare as hold_against
    from qzhou_eval.scores.published_scores import published_model
    from qzhou_eval.scores.result_folder import open_result_folder
    from qzhou_eval.scores.run_folders import find_run_folders

    if output_format not in FORMATS:
        raise UserError(f"unknown --format {output_format!r}: {nearest(output_format, FORMATS)}")
    names = comma_separated(tasks)
    if tasks and not names:
        raise UserError(f"--tasks {tasks!r}: expected task names, comma-separated")
    comparisons, errors = [], []
    for path in find_run_folders([folder]):
        results = open_result_folder(path)
        try:
            row = published_model(published or results.model)
            comparisons.append(hold_against(results, row, names))
        except NothingToCompareError as error:
            errors.append(error)
    if not comparisons:
        raise errors[0]
    for passed_over in errors:
        typer.echo(f"passed over: {passed_over}", err=True)
    _print(comparisons, output_format)
    return 0 if all(c.reproduced for c in comparisons) else NOT_REPRODUCED


def _print(comparisons: list[Comparison], output_format: str) -> None:
    from qzhou_eval.report.comparison import (
        comparison_data,
        comparison_frame,
        comparison_markdown,
        print_comparison,
    )
    from qzhou_eval.report.escaping import csv_text

    if output_format == "json":
        suites = [suite for comparison in comparisons for suite in comparison_data(comparison)]
        # One suite is one object; several are a list of such objects.
        value = suites[0] if len(suites) == 1 else suites
        typer.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
    elif output_format == "csv":
        typer.echo(csv_text(comparison_frame(comparisons)), nl=False)
    elif output_format == "md":
        typer.echo(comparison_markdown(comparisons), nl=False)
    else:
        from rich.console import Console

        for comparison in comparisons:
            print_comparison(comparison, Console(highlight=False))
