"""Two runs beside each other, as people and programs read it. All figures in points."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qzhou_eval.errors import plain
from qzhou_eval.report.board import MISSING
from qzhou_eval.report.escaping import cell
from qzhou_eval.report.figures import figure_text, rounded
from qzhou_eval.report.markdown import table
from qzhou_eval.report.tables import TASK_DIGITS
from qzhou_eval.scores.pair import (
    COVERED,
    Difference,
    MeanPair,
    Outcome,
    Pair,
    Side,
    SuitePair,
    TaskPair,
    few,
)

STYLES = {
    Outcome.BETTER: "green",
    Outcome.WORSE: "red",
    Outcome.NOISE: "",
    Outcome.EQUAL: "",
    Outcome.UNKNOWN: "yellow",
    Outcome.NOT_COMPARABLE: "yellow",
    Outcome.MISSING: "yellow",
}
SMALLEST = 0.001
"""A p below it is shown as such: a bootstrap of some thousand resamples tells no more."""


def pair_data(pair: Pair) -> dict[str, Any]:
    """Return a plain object, ready for JSON.

    Keys: a, b (label, model, revision, folder), suites (suite, conclusion, mean_task,
    mean_task_type, tasks), differences (field, a, b, tasks), remarks, covered. A mean has name, a,
    b, difference, standard_error, interval; a task has task, type, a, b, difference, outcome,
    standard_error, p, adjusted_p, noise, reason. What is not known is null.
    """
    return {
        "a": _side(pair.a),
        "b": _side(pair.b),
        "suites": [
            {
                "suite": suite.suite.name,
                "conclusion": suite.conclusion,
                "mean_task": _mean(suite.mean_task),
                "mean_task_type": _mean(suite.mean_task_type),
                "tasks": [_record(row) for row in suite.rows],
            }
            for suite in pair.suites
        ],
        "differences": [
            {"field": own.field, "a": own.a, "b": own.b, "tasks": list(own.tasks)}
            for own in pair.differences
        ],
        "remarks": list(pair.remarks),
        "covered": COVERED,
    }


def pair_frame(pair: Pair) -> pd.DataFrame:
    """Return a row per suite and task, with what tells the two runs apart in each."""
    return pd.DataFrame(
        [
            {
                "suite": suite.suite.name,
                "run_a": pair.a.label,
                "run_b": pair.b.label,
                **_record(row),
            }
            for suite in pair.suites
            for row in suite.rows
        ]
    )


def _side(side: Side) -> dict[str, str]:
    folder = side.folder
    return {
        "label": side.label,
        "model": folder.model,
        "revision": folder.revision,
        "folder": str(folder.path),
    }


def _mean(mean: MeanPair) -> dict[str, Any]:
    interval = mean.interval
    return {
        "name": mean.name,
        "a": rounded(mean.a),
        "b": rounded(mean.b),
        "difference": rounded(mean.difference),
        "standard_error": rounded(mean.standard_error),
        "interval": None if interval is None else [rounded(end) for end in interval],
    }


def _record(row: TaskPair) -> dict[str, Any]:
    return {
        "task": row.task,
        "type": row.type,
        "a": rounded(row.a),
        "b": rounded(row.b),
        "difference": rounded(row.difference),
        "outcome": row.outcome.value,
        "standard_error": rounded(row.standard_error),
        "p": rounded(row.p, 6),
        "adjusted_p": rounded(row.adjusted_p, 6),
        "noise": row.source,
        "reason": row.reason,
    }


def _chance(p: float | None) -> str:
    if p is None:
        return MISSING
    return f"<{SMALLEST}" if p < SMALLEST else f"{p:.3f}"


def _figures(row: TaskPair | MeanPair, digits: int) -> list[str]:
    return [
        figure_text(row.a, digits),
        figure_text(row.b, digits),
        figure_text(row.difference, digits, "+"),
        figure_text(row.standard_error, digits),
    ]


def _task_figures(row: TaskPair, digits: int) -> list[str]:
    return [*_figures(row, digits), _chance(row.adjusted_p)]


def means(suite: SuitePair) -> list[MeanPair]:
    """Return the means to show; none where nothing could be compared."""
    return [m for m in (suite.mean_task, suite.mean_task_type) if m.difference is not None]


def interval_words(mean: MeanPair) -> str:
    """Return a mean's interval in words; empty where it is not known."""
    if mean.interval is None or not mean.standard_error:
        return ""
    return f"95 % {mean.interval[0]:+.2f} to {mean.interval[1]:+.2f}"


def difference_line(own: Difference) -> str:
    """Return in one line what was made otherwise, and of which tasks."""
    of = f" ({few(own.tasks)})" if own.tasks else ""
    return f"{own.field}: {own.a} in A, {own.b} in B{of}"


def _explained(suite: SuitePair) -> list[tuple[str, TaskPair]]:
    """Return what needs a word, tasks of the same one together, and the first of them."""
    groups: dict[str, list[TaskPair]] = {}
    for row in suite.rows:
        if row.reason and row.outcome is not Outcome.EQUAL:
            groups.setdefault(f"{row.outcome.value}, {row.reason}", []).append(row)
    return [
        (f"{few([row.task for row in rows])}: {reason}", rows[0]) for reason, rows in groups.items()
    ]


HEADINGS = ("A", "B", "Diff.", "± SE", "p")


def pair_markdown(pair: Pair) -> str:
    """Return a section per suite: conclusion, means, a row per task; then what differs."""
    parts = ["# Two runs\n\n", f"A: {cell(pair.a.label)}  \nB: {cell(pair.b.label)}\n"]
    for suite in pair.suites:
        parts.append(f"\n## {cell(suite.suite.name)}\n\n**{cell(suite.conclusion)}**\n")
        rows = [
            [cell(mean.name), *_figures(mean, TASK_DIGITS), interval_words(mean) or MISSING]
            for mean in means(suite)
        ]
        if rows:
            header = ["Mean", *HEADINGS[:-1], "Interval"]
            parts += ["\n", table(header, rows, left=1)]
        header = ["Task", "Type", "Outcome", "Noise, reason", *HEADINGS]
        lines = [
            [
                cell(row.task),
                cell(row.type),
                row.outcome.value,
                cell("; ".join(text for text in (row.source, row.reason) if text)) or MISSING,
                *_task_figures(row, TASK_DIGITS),
            ]
            for row in suite.rows
        ]
        parts += ["\n", table(header, lines, left=4)]
    if pair.differences:
        header = ["What differs", "A", "B", "Tasks"]
        lines = [
            [cell(own.field), cell(own.a), cell(own.b), cell(few(own.tasks)) or "all"]
            for own in pair.differences
        ]
        parts += ["\n", table(header, lines, left=4)]
    parts += [f"\n{cell(remark)}.\n" for remark in pair.remarks]
    parts.append(f"\n{cell(COVERED)}\n")
    return "".join(parts)


def print_pair(pair: Pair, console: Console) -> None:
    """Print a table per suite, what is to be told of single rows, what differs, the conclusion."""
    for name, side in (("A", pair.a), ("B", pair.b)):
        console.print(Text(plain(f"{name}: {side.label}")), soft_wrap=True)
    for suite in pair.suites:
        console.print(Text(plain(suite.suite.name)), soft_wrap=True)
        console.print(_table(suite))
        for words, first in _explained(suite):
            console.print(Text(plain(words), STYLES[first.outcome]))
    if pair.differences:
        console.print(Text("What differs"))
        for own in pair.differences:
            console.print(Text(f"  {plain(difference_line(own))}"))
    else:
        console.print(Text("Nothing that the manifests tell of differs"))
    for remark in pair.remarks:
        console.print(Text(plain(f"Note: {remark}"), "yellow"))
    console.print(Text(COVERED))
    for suite in pair.suites:
        console.print(Text(plain(suite.conclusion), "bold"))


def _table(suite: SuitePair) -> Table:
    lines = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    lines.add_column("Task", overflow="fold", min_width=16)
    for heading in HEADINGS:
        lines.add_column(heading, justify="right", no_wrap=True)
    lines.add_column("B is", no_wrap=True)
    for row in suite.rows:
        outcome = Text(row.outcome.value, STYLES[row.outcome])
        lines.add_row(Text(plain(row.task)), *_task_figures(row, 2), outcome)
    lines.add_section()
    for mean in means(suite):
        lines.add_row(Text(plain(mean.name)), *_figures(mean, 2), "", Text(interval_words(mean)))
    return lines
