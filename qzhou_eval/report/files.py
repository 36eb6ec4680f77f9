"""Writing the tables to files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pandas as pd

from qzhou_eval.errors import UserError
from qzhou_eval.files import replacing
from qzhou_eval.report.escaping import csv_text
from qzhou_eval.report.markdown import leaderboard_markdown, summary_markdown
from qzhou_eval.report.tables import leaderboard, summary, tasks
from qzhou_eval.scores.run_folders import RunScores

SUMMARY_FILES = ("summary.csv", "summary.md")


def write_leaderboard(rows: Sequence[RunScores], output: Path) -> list[Path]:
    """Write leaderboard.csv, tasks.csv and leaderboard.md into `output`; return their paths.

    Raises:
        UserError: they cannot be written; then none of them is.
    """
    return write_together(
        output,
        {
            "leaderboard.csv": csv_text(leaderboard(rows)),
            "tasks.csv": csv_text(tasks(rows)),
            "leaderboard.md": leaderboard_markdown(rows),
        },
    )


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
    return write_together(folder, dict(zip(SUMMARY_FILES, texts, strict=True)))


def write_together(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write texts that belong together, by name of file: all of them or none.

    Raises:
        UserError: one of them cannot be written.
    """
    paths = [folder / name for name in texts]
    for path in paths:
        if path.is_dir():
            raise UserError(f"{path}: cannot be written: it is a folder")
    with ExitStack() as stack:
        # They take their places when the last of them is whole.
        for path, text in zip(paths, texts.values(), strict=True):
            temporary = stack.enter_context(replacing(path))
            temporary.write_text(text, encoding="utf-8", newline="")
    return paths
