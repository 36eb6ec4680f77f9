"""A suite's leaderboard as every kind of table shows it: figures, their order, and the best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from qzhou_eval.report.labels import Named, key, labels, namer
from qzhou_eval.report.tables import (
    TABLE_DIGITS,
    SuiteKey,
    ordered,
    points,
    suite_key,
    suite_titles,
)
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
        name: The suite's heading.
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
    rows = list(rows)
    named, titles = namer(rows, words), suite_titles(rows)
    found: dict[SuiteKey, list[RunScores]] = {}
    for row in ordered(rows):
        found.setdefault(suite_key(row.scores.suite), []).append(row)
    return [_board(titles[suite], own, named) for suite, own in found.items()]


def _board(name: str, rows: Sequence[RunScores], named: Named) -> Board:
    suite = rows[0].scores.suite
    columns = [
        _figures([row.scores.mean_task for row in rows]),
        _figures([row.scores.mean_task_type for row in rows]),
        *(_figures([row.scores.type_mean(t) for row in rows]) for t in suite.types),
    ]
    lines = tuple(
        Line(row, named(row), tuple(column[place] for column in columns))
        for place, row in enumerate(rows)
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


FIXED = ("suite", "type", "task")
"""Columns of the wide table that are no model's."""


def tasks_wide(rows: Sequence[RunScores]) -> pd.DataFrame:
    """Return a row per suite and task, a column per run and published model, named by its label.

    Columns: suite, type, task, then the models'; empty where a model has no score.
    """
    named = {
        k: f"{label} (model)" if label in FIXED else label
        for k, label in labels(ordered(rows)).items()
    }
    records = [
        {"suite": board.name, "type": line.task.type, "task": line.task.name}
        | {named[key(n.row)]: points(n.row.scores.tasks.get(line.task.name)) for n in board.lines}
        for board in boards(rows)
        for line in board.tasks
    ]
    return pd.DataFrame(records, columns=[*FIXED, *named.values()])
