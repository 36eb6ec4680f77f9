"""A comparison with a published row, as people and programs read it. All figures in points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qzhou_eval.errors import plain
from qzhou_eval.report.escaping import cell
from qzhou_eval.report.figures import figure_text, rounded
from qzhou_eval.report.markdown import table
from qzhou_eval.report.tables import TASK_DIGITS
from qzhou_eval.scores.comparison import Comparison
from qzhou_eval.scores.verdicts import PLAIN_REASON, Means, SuiteVerdict, TaskVerdict, Verdict

STYLES = {
    Verdict.EXACT: "green",
    Verdict.WITHIN: "green",
    Verdict.OFF: "red",
    Verdict.NOT_COMPARABLE: "yellow",
    Verdict.MISSING: "yellow",
}


def comparison_data(comparison: Comparison) -> list[dict[str, Any]]:
    """Return a plain object per suite, ready for JSON.

    Keys: suite, verdict, reason, mean_task, mean_task_type (each ours, published, difference over
    the whole suite, null where a score is missing), compared (tasks, and the same means over the
    tasks that could be compared), tasks (task, type, split, subset, ours, published, difference,
    verdict, reason, causes), remarks, model, revision, folder, published (model, revision, source,
    date).
    """
    folder, published = comparison.folder, comparison.published
    return [
        {
            "suite": suite.suite.name,
            "verdict": suite.verdict,
            "reason": suite.reason,
            "mean_task": _means(suite.mean_task),
            "mean_task_type": _means(suite.mean_task_type),
            "compared": {
                "tasks": suite.compared,
                "mean_task": _means(suite.compared_mean_task),
                "mean_task_type": _means(suite.compared_mean_task_type),
            },
            "tasks": [{**record, "causes": list(row.causes)} for record, row in _records(suite)],
            "remarks": list(suite.remarks),
            "model": folder.model,
            "revision": folder.revision,
            "folder": str(folder.path),
            "published": {
                "model": published.name,
                "revision": published.revision,
                "source": published.source,
                "date": published.date,
            },
        }
        for suite in comparison.suites
    ]


def comparison_frame(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """Return a row per suite, task, split and subset, causes joined into one field."""
    return pd.DataFrame(
        [
            {
                "suite": suite.suite.name,
                "model": comparison.folder.model,
                "revision": comparison.folder.revision,
                "published_model": comparison.published.name,
                **record,
                "causes": "; ".join(row.causes),
            }
            for comparison in comparisons
            for suite in comparison.suites
            for record, row in _records(suite)
        ]
    )


def _records(suite: SuiteVerdict) -> list[tuple[dict[str, Any], TaskVerdict]]:
    return [
        (
            {
                "task": row.task,
                "type": row.type,
                "split": row.split,
                "subset": row.subset,
                "ours": rounded(row.ours),
                "published": rounded(row.published),
                "difference": rounded(row.difference),
                "verdict": row.verdict.value,
                "reason": row.reason,
            },
            row,
        )
        for row in suite.rows
    ]


def _means(means: Means) -> dict[str, float | None]:
    values = {"ours": means.ours, "published": means.published, "difference": means.difference}
    return {name: rounded(value) for name, value in values.items()}


def title(comparison: Comparison, suite: SuiteVerdict) -> str:
    """Return what is held against what, in one line."""
    ours, published = comparison.folder, comparison.published
    return (
        f"{suite.suite.name}: {ours.model} ({ours.revision[:12]}) beside the published "
        f"{published.name} ({published.revision[:12]})"
    )


def verdict_line(suite: SuiteVerdict) -> str:
    """Return the suite's verdict, with the number of rows of each kind."""
    return f"{suite.verdict}: {suite.reason} ({counts(suite)})"


def counts(suite: SuiteVerdict) -> str:
    """Return the number of rows of each kind, in words."""
    return ", ".join(f"{n} {kind.value}" for kind in Verdict if (n := suite.count(kind)))


def mean_rows(suite: SuiteVerdict) -> list[tuple[str, Means]]:
    """Return the means to show: of the whole suite, and of what was compared where that is less."""
    rows = []
    if suite.mean_task.ours is not None or suite.mean_task.published is not None:
        rows += [("Mean(Task)", suite.mean_task), ("Mean(TaskType)", suite.mean_task_type)]
    if suite.compared and suite.compared < len(suite.suite.tasks):
        part = f"of the {suite.compared} compared"
        rows += [
            (f"Mean(Task) {part}", suite.compared_mean_task),
            (f"Mean(TaskType) {part}", suite.compared_mean_task_type),
        ]
    return rows


def place(row: TaskVerdict) -> str:
    """Return a row's task, with its subset where that is not the default one."""
    return row.task if row.subset == "default" else f"{row.task} ({row.subset})"


def _explained(suite: SuiteVerdict) -> list[tuple[str, str, TaskVerdict]]:
    """Return what needs a word: the tasks it is said of, the word, and the first of the rows.

    Rows of the same reason and causes are told together.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[TaskVerdict]] = {}
    for row in suite.rows:
        if row.verdict is Verdict.WITHIN and row.reason == PLAIN_REASON:
            continue
        if row.verdict is not Verdict.EXACT:
            groups.setdefault((f"{row.verdict.value}, {row.reason}", row.causes), []).append(row)
    return [
        (", ".join(map(_placed_difference, rows)), reason, rows[0])
        for (reason, _), rows in groups.items()
    ]


def _placed_difference(row: TaskVerdict) -> str:
    if row.verdict not in (Verdict.OFF, Verdict.WITHIN):
        return place(row)
    return f"{place(row)} ({figure_text(row.difference, TASK_DIGITS, '+')})"


def comparison_markdown(comparisons: Sequence[Comparison]) -> str:
    """Return a section per suite: verdict, means, a row per score, reasons and causes."""
    parts = ["# Comparison with published scores\n"]
    for comparison in comparisons:
        published = comparison.published
        for suite in comparison.suites:
            parts.append(f"\n## {cell(title(comparison, suite))}\n\n")
            parts.append(f"**{cell(verdict_line(suite))}**\n\n")
            parts.append(f"Published: {cell(published.source)}.\n")
            parts += [f"\n{cell(remark)}.\n" for remark in suite.remarks]
            means = [[cell(name), *comparison_cells(m)] for name, m in mean_rows(suite)]
            if means:
                header = ["Mean", "Ours", "Published", "Difference"]
                parts += ["\n", table(header, means, left=1)]
            header = ["Task", "Verdict", "Split", "Reason", "Ours", "Published", "Difference"]
            rows = [
                [
                    cell(place(row)),
                    row.verdict.value,
                    cell(row.split),
                    cell(reason(row)),
                    *comparison_cells(row),
                ]
                for row in suite.rows
            ]
            parts += ["\n", table(header, rows, left=4)]
    return "".join(parts)


def reason(row: TaskVerdict) -> str:
    """Return why a score has its verdict, with the likely causes of a difference."""
    causes = f"; likely: {'; '.join(row.causes)}" if row.causes else ""
    return row.reason + causes


def comparison_cells(value: Means | TaskVerdict, digits: int = TASK_DIGITS) -> tuple[str, str, str]:
    """Return ours, the published and the difference, in points, as text."""
    return (
        figure_text(value.ours, digits),
        figure_text(value.published, digits),
        figure_text(value.difference, digits, "+"),
    )


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print a table per suite, then what is to be told of single rows, then the verdict."""
    for suite in comparison.suites:
        console.print(Text(plain(title(comparison, suite))), soft_wrap=True)
        lines = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        lines.add_column("Task", overflow="fold", min_width=16)
        for heading in ("Ours", "Published", "Diff."):
            lines.add_column(heading, justify="right", no_wrap=True)
        lines.add_column("Verdict", no_wrap=True)
        for row in suite.rows:
            style = STYLES[row.verdict]
            verdict = Text(row.verdict.value, style)
            lines.add_row(Text(place(row)), *comparison_cells(row), verdict)
        lines.add_section()
        for name, means in mean_rows(suite):
            lines.add_row(Text(name), *comparison_cells(means, 2))
        console.print(lines)
        for names, reason, first in _explained(suite):
            console.print(Text(plain(f"{names}: {reason}"), STYLES[first.verdict]))
            for cause in first.causes:
                console.print(Text(f"  likely: {plain(cause)}"))
        for remark in suite.remarks:
            console.print(Text(plain(f"Note: {remark}"), "yellow"))
        style = "bold green" if suite.reproduced else "bold red"
        console.print(Text(plain(verdict_line(suite)), style))
        console.print()
