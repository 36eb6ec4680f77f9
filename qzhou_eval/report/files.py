"""Writing the tables to files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from qzhou_eval.files import write_text
from qzhou_eval.report.markdown import leaderboard_markdown, summary_markdown
from qzhou_eval.report.tables import leaderboard, summary, tasks
from qzhou_eval.scores.run_folders import RunScores

SUMMARY_FILES = ("summary.csv", "summary.md")


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write `frame` as CSV without its index, atomically; None becomes an empty field."""
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def write_leaderboard(rows: Sequence[RunScores], output: Path) -> list[Path]:
    """Write leaderboard.csv, tasks.csv and leaderboard.md into `output`; return their paths."""
    paths = [output / name for name in ("leaderboard.csv", "tasks.csv", "leaderboard.md")]
    write_csv(paths[0], leaderboard(rows))
    write_csv(paths[1], tasks(rows))
    write_text(paths[2], leaderboard_markdown(rows))
    return paths


def write_summary(rows: Sequence[RunScores], folder: Path, notes: Sequence[str]) -> list[Path]:
    """Write summary.csv and summary.md of a run folder's suites into it; return their paths."""
    paths = [folder / name for name in SUMMARY_FILES]
    write_csv(paths[0], pd.concat([summary(row) for row in rows], ignore_index=True))
    write_text(paths[1], "\n".join(summary_markdown(row, notes) for row in rows))
    return paths
