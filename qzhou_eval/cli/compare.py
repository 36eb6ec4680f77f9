"""``qzhou-eval compare``: did a published row come out again? How do two runs differ?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from qzhou_eval.scores.comparison import Comparison
    from qzhou_eval.scores.pair import Pair

FORMATS = ("table", "json", "csv", "md")
NOT_REPRODUCED = 1


def compare(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A run's folder, or one above it.", show_default=False),
    ],
    other: Annotated[
        Path | None,
        typer.Argument(
            metavar="[OTHER]",
            help="Another run's folder, to hold against the first instead.",
            show_default=False,
        ),
    ] = None,
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
    """Say, task by task, whether a published row was reproduced; exit 0 only if it was.

    Of two runs: in what the second is better or worse, and whether it is more than chance.
    """
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
    if other is not None:
        if published:
            raise UserError(
                f"--published {published}: two runs are held against each other; give one folder "
                "to hold it against published scores"
            )
        return _compare_runs(folder, other, names, output_format)
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


def _compare_runs(folder: Path, other: Path, names: list[str], output_format: str) -> int:
    """Hold two runs against each other; that they differ is no failure."""
    from rich.console import Console

    from qzhou_eval.scores.pairing import compare_runs
    from qzhou_eval.scores.result_folder import open_result_folder

    a, b = (open_result_folder(_only_run(path)) for path in (folder, other))
    with Console(stderr=True).status("Comparing ..."):
        pair = compare_runs(a, b, names)
    _print_pair(pair, output_format)
    return 0


def _only_run(path: Path) -> Path:
    """Return the one run folder at or below `path`."""
    from qzhou_eval.errors import UserError
    from qzhou_eval.scores.run_folders import find_run_folders

    found = find_run_folders([path])
    if len(found) > 1:
        more = f" and {len(found) - 3} more" if found[3:] else ""
        named = ", ".join(map(str, found[:3]))
        raise UserError(f"{path}: has {len(found)} runs in it, give one of them: {named}{more}")
    return found[0]


def _print_pair(pair: Pair, output_format: str) -> None:
    from qzhou_eval.report.escaping import csv_text
    from qzhou_eval.report.pair import pair_data, pair_frame, pair_markdown, print_pair

    if output_format == "json":
        typer.echo(json.dumps(pair_data(pair), indent=2, ensure_ascii=False, allow_nan=False))
    elif output_format == "csv":
        typer.echo(csv_text(pair_frame(pair)), nl=False)
    elif output_format == "md":
        typer.echo(pair_markdown(pair), nl=False)
    else:
        from rich.console import Console

        print_pair(pair, Console(highlight=False))


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
