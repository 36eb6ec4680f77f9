"""The random draws that a result file's score is the mean of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np

from qzhou_eval.scores.item_scores import Figures

AGREE = 1e-5
"""Most that a score may differ from what its items or draws come to: mteb rounds some to five
decimals before they are averaged, and all to six afterwards."""

Draws = Mapping[str, Figures]
"""Draws by level, or under one empty name where there are no levels."""


def draws(row: Mapping[str, Any], metric: str) -> Draws:
    """Return the draws of one split and subset; empty if it has none that make its score.

    Args:
        row: Its part of a result file.
        metric: Name of the main score.
    """
    measures = row.get("v_measures")
    experiments = row.get("scores_per_experiment")
    if isinstance(experiments, list):
        named = {"": [own.get(metric) if isinstance(own, dict) else None for own in experiments]}
    elif isinstance(measures, list):
        named = {"": measures}
    elif isinstance(measures, dict):
        named = {str(level): own for level, own in measures.items() if isinstance(own, list)}
    else:
        return {}
    every = [value for own in named.values() for value in own]
    values = [value for value in every if _is_score(value)]
    if not values or len(values) < len(every) or not all(named.values()):
        return {}
    mean, score = math.fsum(values) / len(values), row.get("main_score")
    if not _is_score(score) or abs(mean - score) > AGREE:
        return {}
    return {level: np.array(own, dtype=np.float64) for level, own in named.items()}


def _is_score(value: object) -> TypeGuard[float]:
    """Whether `value` is a number that a score can be."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1
