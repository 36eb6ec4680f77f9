"""How good models are at each type of task."""

from __future__ import annotations

from collections.abc import Sequence

from qzhou_eval.report.board import Line
from qzhou_eval.report.charts.specification import ROWS, SCHEMA, WIDTH, Rows, Spec
from qzhou_eval.report.labels import shortened
from qzhou_eval.report.tables import TABLE_DIGITS, points
from qzhou_eval.report.words import Words


def profile(lines: Sequence[Line], types: Sequence[str], words: Words = str) -> Rows:
    """Return a row per model and type whose tasks are all done: model, type, score."""
    names = shortened([line.label for line in lines])
    return [
        {"model": name, "type": words(kind), "score": score}
        for name, line in zip(names, lines, strict=True)
        for kind, score in zip(types, type_means(line, types), strict=True)
        if score is not None
    ]


def type_means(line: Line, types: Sequence[str]) -> list[float | None]:
    """Return a model's mean of each of `types`, in points; None where a task lacks."""
    return [points(line.row.scores.type_mean(kind), TABLE_DIGITS) for kind in types]


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
                "legend": {"orient": "top", "columns": 2, "labelLimit": 400},
            },
            "tooltip": [
                {"field": "model", "title": words("Model")},
                {"field": "type", "title": words("Type")},
                {"field": "score", "title": words("Score"), "format": ".2f"},
            ],
        },
    }
