"""A suite's leaderboard as every kind of table shows it: figures, their order, and the best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from qzhou_eval.report.tables import TABLE_DIGITS, ordered, points
from qzhou_eval.report.words import Words
from qzhou_eval.scores.run_folders import RunScores
from qzhou_eval.suite.suite import TaskSpec

MISSING = "–"
INCOMPLETE = "not all of its tasks are done; a mean over a part is not shown."
"""What `MISSING` means for a mean."""
MEANS = ("Mean(Task)", "Mean(TaskType)")


@dataclass(frozen=True)
class Figure:
    """One number of a table.

    Attributes:
        value: In points, to the digits shown; None where there is none.
        best: Whether no other of its column is better, and there are others.
    """

    value: float | None
    best: bool = False

    @property
    def text(self) -> str:
        """The number with two digits; a dash for none."""
        return MISSING if self.value is None else f"{self.value:.{TABLE_DIGITS}f}"


@dataclass(frozen=True)
class Line:
    """One model of a leaderboard.

    Attributes:
        row: Its scores.
        label: Its name, told apart from the others'.
        figures: One for each of the board's headings.
    """

    row: RunScores
    label: str
    figures: tuple[Figure, ...]

    @property
    def progress(self) -> str:
        """Tasks done, of those of the suite: ``5/41``."""
        return f"{self.row.scores.done}/{self.row.scores.total}"


@dataclass(frozen=True)
class TaskLine:
    """One task of a leaderboard.

    Attributes:
        task: The task.
        figures: One for each of the board's models.
    """

    task: TaskSpec
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Board:
    """A suite's leaderboard.

    Attributes:
        name: The suite.
        types: Its task types, in the published order.
        lines: Its models, the best complete mean first.
        tasks: Its tasks of which any model has a score.
    """

    name: str
    types: tuple[str, ...]
    lines: tuple[Line, ...]
    tasks: tuple[TaskLine, ...]

    @property
    def headings(self) -> tuple[str, ...]:
        """What the lines' figures are: both means, then the types'."""
        return (*MEANS, *self.types)

    @property
    def incomplete(self) -> bool:
        """Whether a model lacks a task."""
        return any(line.row.scores.done < line.row.scores.total for line in self.lines)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What readers must be told of the models, a line each."""
        return tuple(f"{line.label}: {told}" for line in self.lines for told in line.row.remarks)


def boards(rows: Iterable[RunScores], words: Words = str) -> list[Board]:
    """Return a board a suite, in the order the suites are first seen.

    Args:
        rows: Runs and published rows, in any order.
        words: The language of the labels.
    """
    found: dict[str, list[RunScores]] = {}
    for row in ordered(list(rows)):
        found.setdefault(row.scores.suite.name, []).append(row)
    return [_board(name, own, words) for name, own in found.items()]


def _board(name: str, rows: Sequence[RunScores], words: Words) -> Board:
    suite = rows[0].scores.suite
    columns = [
        _figures([row.scores.mean_task for row in rows]),
        _figures([row.scores.mean_task_type for row in rows]),
        *(_figures([row.scores.type_mean(t) for row in rows]) for t in suite.types),
    ]
    lines = tuple(
        Line(row, label, tuple(column[place] for column in columns))
        for place, (row, label) in enumerate(zip(rows, labels(rows, words), strict=True))
    )
    tasks = tuple(
        TaskLine(task, _figures([row.scores.tasks.get(task.name) for row in rows]))
        for task in suite.tasks
        if any(task.name in row.scores.tasks for row in rows)
    )
    return Board(name, suite.types, lines, tasks)


def _figures(scores: Sequence[float | None]) -> tuple[Figure, ...]:
    """Return a column's scores, 0 to 1, as figures; those that are best as shown are marked."""
    values = [points(score, TABLE_DIGITS) for score in scores]
    known = [value for value in values if value is not None]
    best = max(known) if len(known) > 1 else None
    return tuple(Figure(value, value is not None and value == best) for value in values)


def tasks_wide(rows: Sequence[RunScores]) -> pd.DataFrame:
    """Return a row per suite and task, a column per model, named by its label.

    Columns: suite, type, task, then the models'; empty where a model has no score.
    """
    records = [
        {"suite": board.name, "type": line.task.type, "task": line.task.name}
        | {n.label: points(n.row.scores.tasks.get(line.task.name)) for n in board.lines}
        for board in boards(rows)
        for line in board.tasks
    ]
    return pd.DataFrame(records)


def labels(rows: Sequence[RunScores], words: Words = str) -> list[str]:
    """Return the models' names, with what tells those apart that occur twice."""
    named = [f"{r.model} ({words('published')})" if r.published else r.model for r in rows]
    for more in (_revision, _folder):
        named = [
            name if named.count(name) == 1 or row.published else f"{row.model} ({more(row)})"
            for name, row in zip(named, rows, strict=True)
        ]
    return named


def _revision(row: RunScores) -> str:
    return row.revision[:8]


def _folder(row: RunScores) -> str:
    return str(row.folder)
