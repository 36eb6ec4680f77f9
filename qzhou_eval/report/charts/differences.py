"""How far each task's score is from a baseline's."""

from __future__ import annotations

from qzhou_eval.report.board import Board, Line
from qzhou_eval.report.charts.specification import ROWS, SCHEMA, STEP, WIDTH, Rows, Spec, task_axis
from qzhou_eval.report.tables import TASK_DIGITS, points
from qzhou_eval.report.words import Words
from qzhou_eval.scores.verdicts import DRAW_ERRORS, SLACK, TOLERANCE
from qzhou_eval.suite.suite import TaskSpec

FIGURES = 6
"""Decimals of a tolerance, in points: none that a verdict could turn on is lost."""
WITHIN, BEYOND, OTHER = "Within the tolerance", "Beyond it", "not comparable"
KINDS = (WITHIN, BEYOND, OTHER)


def tolerances(line: Line) -> dict[str, float]:
    """Return by how many points tasks of a published row may be missed and still be within.

    Of those where it is more than the tolerance of all: two standard errors of their draws.
    """
    allowed = {
        task: round(100 * DRAW_ERRORS * error, FIGURES)
        for task, error in line.row.standard_errors.items()
    }
    return {task: points for task, points in allowed.items() if points > TOLERANCE}


def differences(board: Board, line: Line, baseline: Line, words: Words = str) -> Rows:
    """Return a row a task that both have, in the order of the published tables' types.

    task, type, score, baseline, difference, tolerance, and ``kind``: whether the difference is
    within the tolerance, beyond it, or one of scores that cannot be compared.
    """
    redefined = line.row.redefined | baseline.row.redefined
    allowed = tolerances(baseline)
    rows = []
    for task in tasks_by_type(board):
        ours = points(line.row.scores.tasks.get(task.name))
        theirs = points(baseline.row.scores.tasks.get(task.name))
        if ours is None or theirs is None:
            continue
        difference = round(ours - theirs, TASK_DIGITS) + 0.0
        tolerance = allowed.get(task.name, TOLERANCE)
        kind = BEYOND if abs(difference) > tolerance + SLACK else WITHIN
        rows.append(
            {
                "task": task.name,
                "type": words(task.type),
                "score": ours,
                "baseline": theirs,
                "difference": difference,
                "tolerance": tolerance,
                "kind": words(OTHER if task.name in redefined else kind),
            }
        )
    return rows


def tasks_by_type(board: Board) -> list[TaskSpec]:
    """Return the board's tasks, those of a type together."""
    return sorted((n.task for n in board.tasks), key=lambda task: board.types.index(task.type))


def differences_spec(words: Words = str) -> Spec:
    """Return the picture of `differences`: a bar from the baseline's score to the model's."""
    tooltip = [
        {"field": "task", "title": words("Task")},
        {"field": "type", "title": words("Type")},
        {"field": "score", "title": words("Score"), "format": ".4f"},
        {"field": "baseline", "title": words("Baseline"), "format": ".4f"},
        {"field": "difference", "title": words("Difference"), "format": "+.4f"},
        {"field": "kind", "title": words("Verdict")},
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
        ],
        "width": WIDTH,
        "height": {"step": STEP},
        "encoding": {"y": task_axis()},
        "layer": [
            {
                "mark": {"type": "bar", "color": "#9aa3ad", "opacity": 0.45, "height": {"band": 1}},
                # What is not comparable can be within nothing.
                "transform": [{"filter": {"field": "kind", "oneOf": list(map(words, KINDS[:2]))}}],
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
                "mark": {"type": "point", "size": 60, "filled": True, "opacity": 1},
                "encoding": {
                    "x": {"field": "difference", "type": "quantitative"},
                    "color": coloured,
                    "shape": {
                        "field": "kind",
                        "type": "nominal",
                        "title": None,
                        "scale": {
                            "domain": list(map(words, KINDS)),
                            "range": ["circle", "diamond", "cross"],
                        },
                        "legend": {"orient": "top", "columns": 4},
                    },
                    "tooltip": tooltip,
                },
            },
        ],
    }
