"""The leaderboard's tables, as data frames: scores in points (0 to 100)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from qzhou_eval.report.labels import Named, folder_text, namer
from qzhou_eval.scores.run_folders import RunScores
from qzhou_eval.suite.suite import TASK_TYPES, Suite

TABLE_DIGITS = 2
TASK_DIGITS = 4


def points(score: float | None, digits: int = TASK_DIGITS) -> float | None:
    """Return a score of 0 to 1 in points, rounded; None stays None."""
    return None if score is None else round(100 * score, digits)


SuiteKey = tuple[str, frozenset[tuple[object, ...]]]
"""A suite's name and all that decides what a mean over it is of."""


def suite_key(suite: Suite) -> SuiteKey:
    """Return what two suites must share for their means to stand in one column."""
    tasks = suite.tasks
    return suite.name, frozenset((t.name, t.type, t.metric, t.splits, t.subsets) for t in tasks)


def suite_titles(rows: Sequence[RunScores]) -> dict[SuiteKey, str]:
    """Return the heading of each suite of `rows`, as first seen.

    Suites of the same name but other tasks are other suites: from the second on they are numbered.
    """
    titles: dict[SuiteKey, str] = {}
    for row in rows:
        suite = row.scores.suite
        if (own := suite_key(suite)) not in titles:
            same = sum(name == suite.name for name, _ in titles)
            number = f" [{same + 1}: {len(suite.tasks)} tasks]" if same else ""
            titles[own] = suite.name + number
    return titles


def ordered(rows: Sequence[RunScores]) -> list[RunScores]:
    """Sort rows by suite, as first seen, the best complete mean first."""
    suites = list(suite_titles(rows))

    def key(row: RunScores) -> tuple[int, bool, float, str]:
        mean = row.scores.mean_task
        place = suites.index(suite_key(row.scores.suite))
        return (place, mean is None, -(mean or 0.0), row.model)

    return sorted(rows, key=key)


def leaderboard(rows: Sequence[RunScores]) -> pd.DataFrame:
    """Return a row per suite and model, in the published column layout.

    Columns: suite, model, mean_task, mean_task_type, one per task type, tasks_done,
    tasks_total, revision, source ("run" or "published"), mode ("strict" or "fast", where that is
    known), label (unlike every other's), folder. A mean over a part of its tasks is left empty.
    """
    types = list(TASK_TYPES)
    types += [t for row in rows for t in row.scores.suite.types if t not in types]
    titles, named = suite_titles(rows), namer(rows)
    records = []
    for row in ordered(rows):
        scores = row.scores
        record: dict[str, str | float | None] = {
            "suite": titles[suite_key(scores.suite)],
            "model": row.model,
            "mean_task": points(scores.mean_task, TABLE_DIGITS),
            "mean_task_type": points(scores.mean_task_type, TABLE_DIGITS),
        }
        record |= {t: points(scores.type_mean(t), TABLE_DIGITS) for t in types}
        record |= {"tasks_done": scores.done, "tasks_total": scores.total}
        records.append(record | _told(row, named))
    return pd.DataFrame(records)


def tasks(rows: Sequence[RunScores]) -> pd.DataFrame:
    """Return a row per suite, model and task that has a score.

    Columns: suite, model, type, task, score, then revision, source, mode, label and folder as in
    `leaderboard`.
    """
    titles, named = suite_titles(rows), namer(rows)
    records: list[dict[str, str | float | None]] = [
        {
            "suite": titles[suite_key(row.scores.suite)],
            "model": row.model,
            "type": task.type,
            "task": task.name,
            "score": points(row.scores.tasks[task.name]),
        }
        | _told(row, named)
        for row in ordered(rows)
        for task in row.scores.suite.tasks
        if task.name in row.scores.tasks
    ]
    columns = ["suite", "model", "type", "task", "score", *TOLD]
    return pd.DataFrame(records, columns=columns)


TOLD = ("revision", "source", "mode", "label", "folder")
"""Columns that say which run a row is of."""


def _told(row: RunScores, named: Named) -> dict[str, str | float | None]:
    source = "published" if row.published else "run"
    values = (row.revision, source, row.mode, named(row), folder_text(row))
    return dict(zip(TOLD, values, strict=True))


def summary(row: RunScores) -> pd.DataFrame:
    """Return one run's scores on one suite, long: level, name, score, tasks_done, tasks_total.

    The levels are "task", "type" and "suite" (Mean(Task), Mean(TaskType)).
    """
    scores, suite = row.scores, row.scores.suite
    lines: list[tuple[str, str, str, float | None, int, int]] = []
    for task in suite.tasks:
        done = task.name in scores.tasks
        score = points(scores.tasks.get(task.name))
        lines.append(("task", task.name, task.type, score, int(done), 1))
    for kind in suite.types:
        score = points(scores.type_mean(kind))
        lines.append(("type", kind, kind, score, *scores.done_of_type(kind)))
    for name, mean in (("Mean(Task)", scores.mean_task), ("Mean(TaskType)", scores.mean_task_type)):
        lines.append(("suite", name, "", points(mean), scores.done, scores.total))
    frame = pd.DataFrame(
        lines, columns=["level", "name", "type", "score", "tasks_done", "tasks_total"]
    )
    # Also where there is none: what is put together has one kind of number.
    frame["score"] = frame["score"].astype(float)
    frame.insert(0, "suite", suite.name)
    frame.insert(1, "model", row.model)
    return frame
