"""What the pictures have in common."""

from __future__ import annotations

from typing import Any

Spec = dict[str, Any]
Rows = list[dict[str, Any]]

VEGA_LITE = "6.1"
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
ROWS, PLANNED = "rows", "planned"
"""Names of a specification's data sets."""
# Told apart by people of any colour vision (Okabe and Ito 2008), the lightest last.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c8c8c", "#b8ad00")
FONT = "system-ui, 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif"
WIDTH = 560
"""Pixels of a picture's plot, where no page says how wide it is."""
STEP = 17
"""Pixels of a task's row."""


def theme(ink: str, faint: str) -> dict[str, Any]:
    """Return a Vega-Lite configuration: `ink` for text, `faint` for lines, nothing behind them."""
    title = {"titleColor": ink, "titleFontWeight": "normal"}
    return {
        "background": None,
        "font": FONT,
        "view": {"stroke": None},
        "axis": {"labelColor": ink, "gridColor": faint, "domainColor": faint, "tickColor": faint}
        | title,
        "legend": {"labelColor": ink} | title,
        "range": {"category": list(COLOURS)},
        "rule": {"color": ink},
        "tick": {"color": ink},
        "point": {"stroke": ink},
    }


THEMES = {"light": theme("#1b1f24", "#d5d9de"), "dark": theme("#e6e9ed", "#454c55")}


def task_axis() -> Spec:
    """Return the encoding of a row a task, in the order of the data."""
    return {
        "field": "task",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"labelLimit": 300, "grid": False},
    }


def with_rows(spec: Spec, **rows: Rows) -> Spec:
    """Return a specification with its data, by the name of the data set."""
    return {**spec, "datasets": rows}
