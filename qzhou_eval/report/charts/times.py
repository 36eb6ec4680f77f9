"""Where a run's time went, task by task, and where it was planned to go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


DIGITS = 4
"""Significant digits of a time: a pixel is more."""


@dataclass(frozen=True)
class Times:
    """Where a run's time went.

    Attributes:
        unit: The unit of all times, a key of `UNITS`.
        tasks: Per task its name, the time of each of `PARTS` and that planned for encoding; None
            where it is not known. The slowest task first.
    """

    unit: str
    tasks: tuple[tuple[str, tuple[float | None, ...]], ...]

    @property
    def planned(self) -> bool:
        """Whether any task was planned."""
        return any(values[-1] is not None for _, values in self.tasks)

    def rows(self, words: Words = str) -> Rows:
        """Return a row per task and part: task, part, order, time."""
        return [
            {"task": task, "part": words(part), "order": order, "time": value}
            for task, values in self.tasks
            for order, (part, value) in enumerate(zip(PARTS, values, strict=False))
            if value is not None
        ]

    def ticks(self) -> Rows:
        """Return a row per task that was planned: task, time."""
        return [
            {"task": task, "time": values[-1]}
            for task, values in self.tasks
            if values[-1] is not None
        ]


def times(entries: Mapping[str, Any]) -> Times:
    """Return where a run's time went.

    Args:
        entries: Task to what the run's manifest says of it, seconds by part and planned ones.
    """
    found: dict[str, list[float | None]] = {}
    for name, entry in entries.items():
        seconds = as_table(as_table(entry).get("seconds"))
        parts = [as_amount(seconds.get(part)) for part in PARTS]
        if any(part is not None for part in parts):
            planned = as_amount(as_table(as_table(entry).get("planned")).get("seconds"))
            found[name] = [*parts, planned]
    slowest = sorted(found, key=lambda name: -_sum(found[name][:-1]))
    longest = max((max(_sum(t[:-1]), _sum(t[-1:])) for t in found.values()), default=0.0)
    unit = next((name for name, size in UNITS.items() if longest >= 2 * size), "Seconds")
    return Times(
        unit,
        tuple((name, tuple(_in_unit(t, UNITS[unit]) for t in found[name])) for name in slowest),
    )


def _sum(values: Sequence[float | None]) -> float:
    return sum(value for value in values if value is not None)


def _in_unit(seconds: float | None, unit: int) -> float | None:
    return None if seconds is None else float(f"{seconds / unit:.{DIGITS}g}")


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
