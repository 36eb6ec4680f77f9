"""The leaderboard's tables, as data frames: scores in points (0 to 100)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from qzhou_eval.scores.run_folders import RunScores
from qzhou_eval.suite.suite import TASK_TYPES

TABLE_DIGITS = 2
TASK_DIGITS = 4


def points(score: float | None, digits: int = TASK_DIGITS) -> float | None:
    """Return a score of 0 to 1 in points, rounded; None stays None."""
    return None if score is None else round(100 * score, digits)


def ordered(rows: Sequence[RunScores]) -> list[RunScores]:
    """Sort rows by suite, as first seen, the best complete mean first."""
    suites = list(dict.fromkeys(row.scores.suite.name for row in rows))

    def key(row: RunScores) -> tuple[int, bool, float, str]:
        mean = row.scores.mean_task
        name = row.scores.suite.name
        return (suites.index(name), mean is None, -(mean or 0.0), row.model)

    return sorted(rows, key=key)


def leaderboard(rows: Sequence[RunScores]) -> pd.DataFrame:
    """Return a row per suite and model, in the published column layout.

    Columns: suite, model, mean_task, mean_task_type, one per task type, tasks_done,
    tasks_total, revision, source ("run" or "published"). A mean over a part of its tasks is left
    empty.
    """
    types = list(TASK_TYPES)
    types += [t for row in rows for t in row.scores.suite.types if t not in types]
    records = []
    for row in ordered(rows):
        scores = row.scores
        record = {
            "suite": scores.suite.name,
            "model": row.model,
            "mean_task": points(scores.mean_task, TABLE_DIGITS),
            "mean_task_type": points(scores.mean_task_type, TABLE_DIGITS),
        }
        record |= {t: points(scores.type_mean(t), TABLE_DIGITS) for t in types}
        record |= {"tasks_done": scores.done, "tasks_total": scores.total}
        record |= {"revision": row.revision, "source": _source(row)}
        records.append(record)
    return pd.DataFrame(records)


def tasks(rows: Sequence[RunScores]) -> pd.DataFrame:
    """Return a row per suite, model and task that has a score.

    Columns: suite, model, type, task, score, revision, source ("run" or "published").
    """
    records = [
        {
            "suite": row.scores.suite.name,
            "model": row.model,
            "type": task.type,
            "task": task.name,
            "score": points(row.scores.tasks[task.name]),
            "revision": row.revision,
            "source": _source(row),
        }
        for row in ordered(rows)
        for task in row.scores.suite.tasks
        if task.name in row.scores.tasks
    ]
    return pd.DataFrame(records)


def _source(row: RunScores) -> str:
    return "published" if row.published else "run"


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
    frame.insert(0, "suite", suite.name)
    frame.insert(1, "model", row.model)
    return frame
