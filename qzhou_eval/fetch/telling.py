"""Sizes in words."""

from __future__ import annotations

UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def told_bytes(size: float) -> str:
    """Return `size` bytes for a reader, as in "12.3 MB"."""
    for unit, worth in UNITS:
        if size >= worth:
            return f"{size / worth:,.1f} {unit}"
    return f"{size:,.0f} B"
