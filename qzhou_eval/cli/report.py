"""``qzhou-eval report``: tables, a page and pictures from result folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from qzhou_eval.report.files import Format
    from qzhou_eval.scores.run_folders import RunScores


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
            help="Write the report's files into this folder.",
            show_default=False,
        ),
    ] = None,
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMATS",
            help="csv, md, html, latex, comma-separated; by default the first three. "
            "Without --output, one of csv, md and latex is printed.",
            show_default=False,
        ),
    ] = "",
    with_peers: Annotated[
        bool, typer.Option("--with-peers", help="Add the published rows of the same suites.")
    ] = False,
    baseline: Annotated[
        str,
        typer.Option(
            "--baseline",
            metavar="MODEL",
            help="Model, label or run folder that page and pictures hold others against; by "
            "default a run's own published row, or the best one.",
            show_default=False,
        ),
    ] = "",
    plots: Annotated[
        Path | None,
        typer.Option(
            "--plots",
            metavar="DIR",
            help="Write the page's pictures into this folder, as SVG and PNG.",
            show_default=False,
        ),
    ] = None,
    lang: Annotated[
        str, typer.Option("--lang", metavar="LANG", help="Language of headings: en or zh.")
    ] = "en",
) -> None:
    """Make leaderboard tables, a page and pictures from result folders, of one or many models."""
    from rich.console import Console

    from qzhou_eval.errors import UserError, plain
    from qzhou_eval.report.charts.choice import named_baseline
    from qzhou_eval.report.files import PRINTED, WRITTEN, report_files, write_together
    from qzhou_eval.report.terminal import print_leaderboard
    from qzhou_eval.report.words import Lang, words

    chosen = _formats(formats)
    language = Lang(_known("--lang", lang, [each.value for each in Lang]))
    on_screen = output is None and bool(chosen)
    if on_screen and (len(chosen) > 1 or chosen[0] not in PRINTED):
        raise UserError(f"--format {formats}: needs --output OUT, a folder to write into")
    if output is not None and not chosen:
        chosen = list(WRITTEN)
    rows = _rows(folders, with_peers)
    against = named_baseline(rows, baseline, words(language))
    # All is made before anything is written.
    texts: dict[str, str] = {}
    for one in chosen:
        texts |= report_files(rows, one, lang=language, baseline=against)
    files: dict[Path, str | bytes] = {}
    if output is not None:
        files |= {output / name: text for name, text in texts.items()}
    if plots is not None:
        from qzhou_eval.report.pictures import pictures

        drawn = pictures(rows, words(language), against)
        files |= {plots / name: picture for name, picture in drawn.items()}
    written = write_together(files)
    if on_screen:
        # The first of them alone: what a program reads.
        typer.echo(next(iter(texts.values())), nl=False)
    else:
        print_leaderboard(rows, Console(highlight=False), words(language))
    # Beside a table for programs, not in it.
    console = Console(highlight=False, stderr=on_screen)
    for path in written:
        console.print(plain(f"wrote {path}"), soft_wrap=True, markup=False)


def _formats(value: str) -> list[Format]:
    """Return the formats named by a comma-separated option, each once."""
    from qzhou_eval.cli.options import comma_separated
    from qzhou_eval.errors import UserError
    from qzhou_eval.report.files import Format

    known = [each.value for each in Format]
    names = comma_separated(value)
    if value and not names:
        raise UserError(f"--format {value!r}: expected {', '.join(known)}, comma-separated")
    return [Format(_known("--format", name, known)) for name in dict.fromkeys(names)]


def _known(option: str, name: str, known: list[str]) -> str:
    from qzhou_eval.errors import UserError, nearest

    if name not in known:
        raise UserError(f"unknown {option} {name!r}: {nearest(name, known)}")
    return name


def _rows(folders: list[Path], with_peers: bool) -> list[RunScores]:
    """Read the folders' scores, and the published rows that are asked for.

    Raises:
        UserError: there are none.
    """
    from qzhou_eval.errors import UserError
    from qzhou_eval.scores.peers import peers
    from qzhou_eval.scores.run_folders import find_run_folders, read_run_folder

    rows = [row for folder in find_run_folders(folders) for row in read_run_folder(folder)]
    if not rows:
        names = ", ".join(map(str, folders))
        raise UserError(f"{names}: no scores of any suite's splits and subsets in the results")
    if with_peers:
        rows += peers(row.scores.suite.name for row in rows)
    return rows
