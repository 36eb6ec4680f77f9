"""Where a run's time went, task by task, and where it was planned to go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qzhou_eval.report.charts.specification import (
    PLANNED,
    ROWS,
    SCHEMA,
    STEP,
    WIDTH,
    Rows,
    Spec,
    task_axis,
)
from qzhou_eval.report.values import as_amount, as_table
from qzhou_eval.report.words import Words

PARTS = ("data", "encode", "score")
UNITS = {"Hours": 3600, "Minutes": 60, "Seconds": 1}


def times(entries: Mapping[str, Any], words: Words = str) -> tuple[Rows, Rows, str]:
    """Return where a run's time went.

    Args:
        entries: Task to what the run's manifest says of it, seconds by part and planned ones.
        words: The language.

    Returns:
        A row per task and part (task, part, order, time), one per task that was planned (task,
        time), and the name of the unit of time; the slowest task first.
    """
    found: dict[str, dict[str, float]] = {}
    plans: dict[str, float] = {}
    for name, entry in entries.items():
        seconds = as_table(as_table(entry).get("seconds"))
        parts = {
            part: value for part in PARTS if (value := as_amount(seconds.get(part))) is not None
        }
        if not parts:
            continue
        found[name] = parts
        planned = as_amount(as_table(as_table(entry).get("planned")).get("seconds"))
        if planned is not None:
            plans[name] = planned
    slowest = sorted(found, key=lambda name: -sum(found[name].values()))
    longest = max([*(sum(parts.values()) for parts in found.values()), *plans.values()], default=0)
    unit = next((name for name, size in UNITS.items() if longest >= 2 * size), "Seconds")
    rows = [
        {"task": name, "part": words(part), "order": order, "time": value / UNITS[unit]}
        for name in slowest
        for order, part in enumerate(PARTS)
        if (value := found[name].get(part)) is not None
    ]
    ticks = [{"task": name, "time": plans[name] / UNITS[unit]} for name in slowest if name in plans]
    return rows, ticks, unit


def times_spec(unit: str, planned: bool, words: Words = str) -> Spec:
    """Return the picture of `times`: a bar a task, of its parts, a tick where it was planned.

    Args:
        unit: The unit of time.
        planned: Whether there are ticks.
        words: The language.
    """
    shown = {"field": "time", "type": "quantitative", "title": words(unit), "format": ".4~g"}
    axis = {"field": "time", "type": "quantitative", "title": words(unit)}
    parts = {
        "data": {"name": ROWS},
        "mark": "bar",
        "encoding": {
            "y": task_axis(),
            "x": axis,
            "order": {"field": "order"},
            "color": {
                "field": "part",
                "type": "nominal",
                "sort": None,
                "title": None,
                "scale": {"domain": [words(part) for part in PARTS]},
                "legend": {"orient": "top"},
            },
            "tooltip": [
                {"field": "task", "title": words("Task")},
                {"field": "part", "title": words("Part")},
                shown,
            ],
        },
    }
    ticks = {
        "data": {"name": PLANNED},
        "mark": {"type": "tick", "thickness": 2.5, "height": {"band": 1}},
        "encoding": {
            "y": task_axis(),
            "x": axis,
            "tooltip": [
                {"field": "task", "title": words("Task")},
                shown | {"title": words("Planned encoding")},
            ],
        },
    }
    # A layer without rows has no extent, of which Vega complains.
    layers = [parts, ticks] if planned else [parts]
    return {"$schema": SCHEMA, "width": WIDTH, "height": {"step": STEP}, "layer": layers}
