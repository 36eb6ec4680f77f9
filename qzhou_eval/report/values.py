"""Values of a manifest, which may hold anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COUNTLESS = 1e18
"""No texts, tokens or seconds of a run are so many."""


def as_table(value: Any) -> Mapping[str, Any]:
    """Return `value` if it is a table, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_amount(value: Any) -> float | None:
    """Return `value` if it is a count or an amount of something, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value < COUNTLESS else None  # nor is NaN
