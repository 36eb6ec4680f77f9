"""Figures of a comparison, in points: rounded for programs, and as text for people."""

from __future__ import annotations

from qzhou_eval.report.board import MISSING
from qzhou_eval.report.tables import TASK_DIGITS


def rounded(value: float | None, digits: int = TASK_DIGITS) -> float | None:
    """Return `value` rounded; None stays None."""
    # + 0.0: a difference of -0.00004 is no -0.0.
    return None if value is None else round(value, digits) + 0.0


def figure_text(value: float | None, digits: int = TASK_DIGITS, sign: str = "") -> str:
    """Return `value` with so many digits, a dash for none; with `sign` "+", its sign always."""
    shown = rounded(value, digits)
    return MISSING if shown is None else f"{shown:{sign}.{digits}f}"
