"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qzhou_eval.report.board import INCOMPLETE, MISSING, Board, Figure, boards
from qzhou_eval.report.escaping import cell
from qzhou_eval.report.tables import TABLE_DIGITS, points
from qzhou_eval.report.values import as_amount, as_table
from qzhou_eval.report.words import Words
from qzhou_eval.scores.result_folder import open_result_folder
from qzhou_eval.scores.run_folders import RunScores
from qzhou_eval.suite.suite import Suite


def number(score: float | None) -> str:
    """Return a score of 0 to 1 in points with two digits; a dash for none."""
    value = points(score, TABLE_DIGITS)
    return MISSING if value is None else f"{value:.2f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """Return a Markdown table whose first `left` columns are text, the rest numbers."""
    rule = ["---" if i < left else "---:" for i in range(len(header))]
    lines = [header, rule, *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def leaderboard_markdown(rows: Sequence[RunScores], words: Words = str) -> str:
    """Return one table a suite, models from best to worst, then each suite's tasks."""
    parts = [f"# {words('Leaderboard')}\n"]
    for board in boards(rows, words):
        parts += [f"\n## {cell(board.name)}\n\n", _means(board, words)]
        if board.tasks:
            parts += ["\n", _tasks(board, words)]
        parts += [f"\n{cell(remark)}.\n" for remark in board.remarks]
        if board.incomplete:
            parts.append(f"\n{MISSING}: {words(INCOMPLETE)}\n")
    return "".join(parts)


def _means(board: Board, words: Words) -> str:
    header = [words(heading) for heading in ("Model", "Tasks", *board.headings)]
    lines = [[cell(n.label), n.progress, *map(_figure, n.figures)] for n in board.lines]
    return table([cell(heading) for heading in header], lines, left=1)


def _tasks(board: Board, words: Words) -> str:
    header = [words("Task"), words("Type"), *(cell(line.label) for line in board.lines)]
    lines = [
        [cell(line.task.name), cell(words(line.task.type)), *map(_figure, line.figures)]
        for line in board.tasks
    ]
    return table(header, lines, left=2)


def _figure(figure: Figure) -> str:
    return f"**{figure.text}**" if figure.best else figure.text


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
    lines.append(planned_markdown(suite, _manifest(row)))
    lines += [f"\n{cell(remark)}.\n" for remark in row.remarks]
    return "".join(lines)


def _manifest(row: RunScores) -> Mapping[str, Any]:
    return open_result_folder(row.folder).manifest if row.folder else {}


def planned_markdown(suite: Suite, manifest: Mapping[str, Any]) -> str:
    """Return what was planned of the suite's tasks beside what they took; empty without a plan.

    Args:
        suite: The suite.
        manifest: The run's, whose tasks have texts, tokens and seconds of encoding, and what was
            planned of them in ``planned``.
    """
    tasks = as_table(manifest.get("tasks"))
    rows, pairs = [], []
    for task in suite.tasks:
        entry = as_table(tasks.get(task.name))
        plan = as_table(entry.get("planned"))
        if not plan or entry.get("status") != "done":
            continue
        actual = {**entry, "seconds": as_table(entry.get("seconds")).get("encode")}
        pair = [as_amount(source.get(key)) for key in PLANNED for source in (plan, actual)]
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


def _amount(value: float | None, unit: int) -> str:
    if value is None:
        return MISSING
    digits = 0 if unit == 1 else 1 if value >= 10 * unit else 2
    return f"{value / unit:,.{digits}f}"
