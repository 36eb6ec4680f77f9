"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qzhou_eval.report.escaping import cell
from qzhou_eval.report.tables import TABLE_DIGITS, ordered, points
from qzhou_eval.scores.result_folder import open_result_folder
from qzhou_eval.scores.run_folders import RunScores
from qzhou_eval.suite.suite import Suite

MISSING = "–"


def number(score: float | None) -> str:
    """Return a score of 0 to 1 in points with two digits; a dash for none."""
    value = points(score, TABLE_DIGITS)
    return MISSING if value is None else f"{value:.2f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """Return a Markdown table whose first `left` columns are text, the rest numbers."""
    rule = ["---" if i < left else "---:" for i in range(len(header))]
    lines = [header, rule, *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def leaderboard_markdown(rows: Sequence[RunScores]) -> str:
    """Return one table a suite, models from best to worst, then each suite's tasks."""
    parts = ["# Leaderboard\n"]
    for name in dict.fromkeys(row.scores.suite.name for row in rows):
        own = [row for row in ordered(rows) if row.scores.suite.name == name]
        parts += [f"\n## {cell(name)}\n\n", _means(own), "\n", _tasks(own)]
        parts += [
            f"\n{cell(row.model)}: {cell(remark)}.\n" for row in own for remark in row.remarks
        ]
        if any(row.scores.done < row.scores.total for row in own):
            parts.append(
                f"\n{MISSING}: not all of its tasks are done; a mean over a part is not shown.\n"
            )
    return "".join(parts)


def labels(rows: Sequence[RunScores]) -> list[str]:
    """Return the models' names, with the revision behind those that occur twice."""
    names = [row.model for row in rows]
    return [
        f"{row.model} ({row.revision[:8]})" if names.count(row.model) > 1 else row.model
        for row in rows
    ]


def _means(rows: Sequence[RunScores]) -> str:
    types = rows[0].scores.suite.types
    header = ["Model", "Tasks", "Mean(Task)", "Mean(TaskType)", *map(cell, types)]
    lines = [
        [
            cell(label),
            f"{row.scores.done}/{row.scores.total}",
            number(row.scores.mean_task),
            number(row.scores.mean_task_type),
            *(number(row.scores.type_mean(t)) for t in types),
        ]
        for row, label in zip(rows, labels(rows), strict=True)
    ]
    return table(header, lines, left=1)


def _tasks(rows: Sequence[RunScores]) -> str:
    header = ["Task", "Type", *map(cell, labels(rows))]
    lines = [
        [
            cell(task.name),
            cell(task.type),
            *(number(row.scores.tasks.get(task.name)) for row in rows),
        ]
        for task in rows[0].scores.suite.tasks
        if any(task.name in row.scores.tasks for row in rows)
    ]
    return table(header, lines, left=2)


def summary_markdown(row: RunScores, notes: Sequence[str] = ()) -> str:
    """Return one run on one suite: means, types with n of N, tasks; `notes` below the title."""
    scores, suite = row.scores, row.scores.suite
    complete = scores.done == scores.total
    lines = [f"# {cell(row.model)} on {cell(suite.name)}\n\n"]
    lines += [f"{cell(note)}  \n" for note in notes]
    lines.append(f"\n{scores.done} of {scores.total} tasks done.")
    if not complete:
        lines.append(" A mean over a part of its tasks is not shown.")
    means = [
        ["Mean(Task)", f"{scores.done}/{scores.total}", number(scores.mean_task)],
        ["Mean(TaskType)", f"{scores.done}/{scores.total}", number(scores.mean_task_type)],
    ]
    for kind in suite.types:
        done, total = scores.done_of_type(kind)
        means.append([cell(kind), f"{done}/{total}", number(scores.type_mean(kind))])
    lines += ["\n\n", table(["Mean", "Tasks", "Score"], means, left=1), "\n"]
    tasks = [
        [cell(value) for value in (task.name, task.type, task.metric)]
        + [number(scores.tasks.get(task.name))]
        for task in suite.tasks
    ]
    lines.append(table(["Task", "Type", "Main score", "Score"], tasks, left=3))
    lines.append(planned_markdown(suite, open_result_folder(row.folder).manifest))
    lines += [f"\n{cell(remark)}.\n" for remark in row.remarks]
    return "".join(lines)


def planned_markdown(suite: Suite, manifest: Mapping[str, Any]) -> str:
    """Return what was planned of the suite's tasks beside what they took; empty without a plan.

    Args:
        suite: The suite.
        manifest: The run's, whose tasks have texts, tokens and seconds of encoding, and what was
            planned of them in ``planned``.
    """
    tasks = _table(manifest.get("tasks"))
    rows, pairs = [], []
    for task in suite.tasks:
        entry = _table(tasks.get(task.name))
        plan = _table(entry.get("planned"))
        if not plan or entry.get("status") != "done":
            continue
        actual = {**entry, "seconds": _table(entry.get("seconds")).get("encode")}
        pair = [_number(source.get(key)) for key in PLANNED for source in (plan, actual)]
        pairs.append(pair)
        rows.append([cell(task.name), *map(_amount, pair, UNITS)])
    if not rows:
        return ""
    # A column is added up where every task has it.
    columns = zip(*pairs, strict=True)
    whole = [None if None in column else sum(filter(None, column)) for column in columns]
    rows.append(["All of these", *map(_amount, whole, UNITS)])
    header = ["Task", *(f"{what}, {kind}" for what in HEADINGS for kind in ("planned", "actual"))]
    return "\n## Planned and actual\n\n" + table(header, rows, left=1)


PLANNED = ("texts", "tokens", "seconds")
HEADINGS = ("Texts", "Tokens", "Minutes of encoding")
UNITS = (1, 1, 1, 1, 60, 60)
COUNTLESS = 1e18
"""No texts, tokens or seconds of a run are so many."""


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < COUNTLESS else None  # nor is NaN


def _amount(value: float | None, unit: int) -> str:
    if value is None:
        return MISSING
    digits = 0 if unit == 1 else 1 if value >= 10 * unit else 2
    return f"{value / unit:,.{digits}f}"
