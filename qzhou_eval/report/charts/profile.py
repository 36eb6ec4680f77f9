"""How good models are at each type of task."""

from __future__ import annotations

from collections.abc import Sequence

from qzhou_eval.report.board import Line
from qzhou_eval.report.charts.specification import ROWS, SCHEMA, WIDTH, Rows, Spec
from qzhou_eval.report.tables import TABLE_DIGITS, points
from qzhou_eval.report.words import Words


def profile(lines: Sequence[Line], types: Sequence[str], words: Words = str) -> Rows:
    """Return a row per model and type whose tasks are all done: model, type, score."""
    return [
        {"model": line.label, "type": words(kind), "score": score}
        for line in lines
        for kind in types
        if (score := points(line.row.scores.type_mean(kind), TABLE_DIGITS)) is not None
    ]


def profile_spec(words: Words = str) -> Spec:
    """Return the picture of `profile`: a bar per model, side by side, for each type."""
    return {
        "$schema": SCHEMA,
        "data": {"name": ROWS},
        "width": WIDTH,
        "height": {"step": 11, "for": "offset"},
        "mark": {"type": "bar"},
        "encoding": {
            "y": {"field": "type", "type": "nominal", "sort": None, "title": None},
            "yOffset": {"field": "model", "type": "nominal", "sort": None},
            "x": {"field": "score", "type": "quantitative", "title": words("Score")},
            "color": {
                "field": "model",
                "type": "nominal",
                "sort": None,
                "title": None,
                "legend": {"orient": "top", "columns": 2, "labelLimit": 300},
            },
            "tooltip": [
                {"field": "model", "title": words("Model")},
                {"field": "type", "title": words("Type")},
                {"field": "score", "title": words("Score"), "format": ".2f"},
            ],
        },
    }
