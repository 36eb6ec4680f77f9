"""Writing the tables to files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from enum import Enum
from pathlib import Path

import pandas as pd

from qzhou_eval.errors import UserError
from qzhou_eval.files import replacing
from qzhou_eval.report.board import tasks_wide
from qzhou_eval.report.escaping import csv_text
from qzhou_eval.report.labels import Key
from qzhou_eval.report.latex import leaderboard_latex
from qzhou_eval.report.markdown import leaderboard_markdown, summary_markdown
from qzhou_eval.report.tables import leaderboard, summary, tasks
from qzhou_eval.report.words import Lang, words
from qzhou_eval.scores.run_folders import RunScores

SUMMARY_FILES = ("summary.csv", "summary.md")


class Format(str, Enum):
    """What a report can be written as."""

    CSV = "csv"
    """Tables for programs: means and types by model, scores by task, long and wide."""
    MD = "md"
    """Markdown."""
    HTML = "html"
    """One page with tables and pictures, in one file."""
    LATEX = "latex"
    """Tables for a paper."""


WRITTEN = (Format.CSV, Format.MD, Format.HTML)
"""What is written unless formats are named."""
PRINTED = (Format.CSV, Format.MD, Format.LATEX)
"""What can be printed as well: its first file alone."""


def report_files(
    rows: Sequence[RunScores], wanted: Format, *, lang: Lang = Lang.EN, baseline: Key | None = None
) -> dict[str, str]:
    """Return a report in one format, by name of file; the first is the one to look at first.

    Args:
        rows: Runs and published rows.
        wanted: The format.
        lang: Its language; CSV is for programs, and the same in any.
        baseline: What the page holds others against at first.

    Raises:
        UserError: a run folder's manifest or results are not readable.
    """
    if wanted is Format.CSV:
        frames = {"leaderboard": leaderboard, "tasks": tasks, "tasks-wide": tasks_wide}
        return {f"{name}.csv": csv_text(frame(rows)) for name, frame in frames.items()}
    if wanted is Format.MD:
        return {"leaderboard.md": leaderboard_markdown(rows, words(lang))}
    if wanted is Format.LATEX:
        return {"leaderboard.tex": leaderboard_latex(rows, words(lang))}
    # Only here: jinja2 and Vega take their time to load.
    from qzhou_eval.report.page.page import leaderboard_page

    return {"report.html": leaderboard_page(rows, lang=lang, baseline=baseline)}


def write_summary(rows: Sequence[RunScores], folder: Path, notes: Sequence[str]) -> list[Path]:
    """Write summary.csv and summary.md of a run folder's suites into it; return their paths.

    Raises:
        UserError: they cannot be written; then none of them is.
    """
    frames = [summary(row) for row in rows]
    texts = (
        csv_text(pd.concat(frames, ignore_index=True)),
        "\n".join(summary_markdown(row, notes) for row in rows),
    )
    paths = [folder / name for name in SUMMARY_FILES]
    return write_together(dict(zip(paths, texts, strict=True)))


def write_together(contents: Mapping[Path, str | bytes]) -> list[Path]:
    """Write files that belong together: they take their places when the last of them is whole.

    Raises:
        UserError: one of them cannot be written.
    """
    paths = list(contents)
    for path in paths:
        if path.is_dir():
            raise UserError(f"{path}: cannot be written: it is a folder")
    with ExitStack() as stack:
        for path, content in zip(paths, contents.values(), strict=True):
            temporary = stack.enter_context(replacing(path))
            data = content if isinstance(content, bytes) else content.encode("utf-8")
            temporary.write_bytes(data)
    return paths
