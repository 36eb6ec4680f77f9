"""How far each task's score is from a baseline's."""

from __future__ import annotations

from qzhou_eval.report.board import Board, Line
from qzhou_eval.report.charts.specification import ROWS, SCHEMA, STEP, WIDTH, Rows, Spec, task_axis
from qzhou_eval.report.tables import TABLE_DIGITS, TASK_DIGITS, points
from qzhou_eval.report.words import Words
from qzhou_eval.scores.verdicts import DRAW_ERRORS, SLACK, TOLERANCE
from qzhou_eval.suite.suite import TaskSpec


def tolerances(line: Line) -> dict[str, float]:
    """Return by how many points each task of a published row may be missed and still be within."""
    errors = line.row.standard_errors
    return {
        task: max(TOLERANCE, round(100 * DRAW_ERRORS * errors.get(task, 0.0), TABLE_DIGITS))
        for task in line.row.scores.tasks
    }


def differences(board: Board, line: Line, baseline: Line, words: Words = str) -> Rows:
    """Return a row a task that both have: task, type, both scores, difference, tolerance.

    In the order of the published tables' types.
    """
    allowed = tolerances(baseline)
    rows = []
    for task in tasks_by_type(board):
        ours = points(line.row.scores.tasks.get(task.name))
        theirs = points(baseline.row.scores.tasks.get(task.name))
        if ours is None or theirs is None:
            continue
        rows.append(
            {
                "task": task.name,
                "type": words(task.type),
                "score": ours,
                "baseline": theirs,
                "difference": round(ours - theirs, TASK_DIGITS) + 0.0,
                "tolerance": allowed[task.name],
            }
        )
    return rows


def tasks_by_type(board: Board) -> list[TaskSpec]:
    """Return the board's tasks, those of a type together."""
    return sorted((n.task for n in board.tasks), key=lambda task: board.types.index(task.type))


def differences_spec(words: Words = str) -> Spec:
    """Return the picture of `differences`: a bar from the baseline's score to the model's."""
    beyond = f"abs(datum.difference) > datum.tolerance + {SLACK}"
    tooltip = [
        {"field": "task", "title": words("Task")},
        {"field": "type", "title": words("Type")},
        {"field": "score", "title": words("Score"), "format": ".4f"},
        {"field": "baseline", "title": words("Baseline"), "format": ".4f"},
        {"field": "difference", "title": words("Difference"), "format": "+.4f"},
    ]
    coloured = {
        "field": "type",
        "type": "nominal",
        "sort": None,
        "title": None,
        "legend": {"orient": "top", "columns": 4, "symbolType": "circle"},
    }
    return {
        "$schema": SCHEMA,
        "data": {"name": ROWS},
        "transform": [
            {"calculate": "-datum.tolerance", "as": "low"},
            {"calculate": "0", "as": "zero"},
            {"calculate": beyond, "as": "beyond"},
        ],
        "width": WIDTH,
        "height": {"step": STEP},
        "encoding": {"y": task_axis()},
        "layer": [
            {
                "mark": {"type": "bar", "color": "#9aa3ad", "opacity": 0.45, "height": {"band": 1}},
                "encoding": {
                    "x": {
                        "field": "low",
                        "type": "quantitative",
                        "title": words("Difference in points"),
                    },
                    "x2": {"field": "tolerance"},
                },
            },
            {
                "mark": {"type": "rule", "strokeWidth": 2.5},
                "encoding": {
                    "x": {"field": "zero", "type": "quantitative"},
                    "x2": {"field": "difference"},
                    "color": coloured,
                },
            },
            {
                "mark": {"type": "circle", "size": 70, "opacity": 1},
                "encoding": {
                    "x": {"field": "difference", "type": "quantitative"},
                    "color": coloured,
                    "size": {"condition": {"test": "datum.beyond", "value": 90}, "value": 35},
                    "tooltip": tooltip,
                },
            },
        ],
    }
