"""Tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from qzhou_eval.errors import plain
from qzhou_eval.report.markdown import MISSING, labels, number
from qzhou_eval.report.tables import ordered
from qzhou_eval.scores.run_folders import RunScores


def print_leaderboard(rows: Sequence[RunScores], console: Console) -> None:
    """Print one table a suite: a row per model, or a column per model where that is too wide."""
    for name in dict.fromkeys(row.scores.suite.name for row in rows):
        own = [row for row in ordered(rows) if row.scores.suite.name == name]
        table = _table(name, own, upright=False)
        needed = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
        if needed > console.width:
            table = _table(name, own, upright=True)
        console.print(table)
        for row in own:
            for remark in row.remarks:
                console.print(Text(plain(f"{row.model}: {remark}"), "yellow"))
        if any(row.scores.done < row.scores.total for row in own):
            console.print(
                f"{MISSING}: not all of its tasks are done; no mean over a part is shown."
            )


def _table(name: str, rows: Sequence[RunScores], *, upright: bool) -> Table:
    types = rows[0].scores.suite.types
    # As texts, not as rich's markup: a name from a file may hold brackets.
    headings = [Text(plain(h)) for h in ("Tasks", "Mean(Task)", "Mean(TaskType)", *types)]
    lines = [
        [
            f"{row.scores.done}/{row.scores.total}",
            number(row.scores.mean_task),
            number(row.scores.mean_task_type),
            *(number(row.scores.type_mean(t)) for t in types),
        ]
        for row in rows
    ]
    table = Table(
        title=Text(plain(name)), box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False
    )
    if not upright:
        table.add_column("Model", no_wrap=True)
        for heading in headings:
            table.add_column(heading, justify="right", no_wrap=True)
        for label, cells in zip(labels(rows), lines, strict=True):
            table.add_row(Text(plain(label)), *cells)
        return table
    table.add_column("")
    for label in labels(rows):
        table.add_column(Text(plain(label)), justify="right", overflow="fold")
    for heading, *cells in zip(headings, *lines, strict=True):
        table.add_row(heading, *cells)
    return table
