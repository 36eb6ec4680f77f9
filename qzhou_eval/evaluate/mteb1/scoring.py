"""What a task's encoding leaves to be scored, and what our own paths through a task share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mteb.evaluation.evaluators.utils import nAUC
from numpy.typing import NDArray

from qzhou_eval.evaluate.items import Items

Scores = dict[str, Any]
"""Scores of one subset under mteb's names, "main_score" among them."""


@dataclass(frozen=True)
class Scored:
    """A subset that is scored.

    Attributes:
        scores: Its scores.
        items: What they are made of; None where that is not known item by item.
    """

    scores: Scores
    items: Items | None = None


Scoring = Callable[[], Scored]
"""The rest of a task's subset once all its texts are encoded. Draws no random numbers and asks no
model, so that it may run while the next task is being encoded."""


def abstention(
    confidence: Mapping[str, NDArray[np.float64]], metrics: Mapping[str, Sequence[float]]
) -> dict[str, float]:
    """Return mteb's normalized areas under the abstention curve, "nAUC_<metric>_<confidence>"."""
    return {
        f"nAUC_{name}_{kind}": nAUC(sure, np.array(values))
        for name, values in metrics.items()
        for kind, sure in confidence.items()
    }


def unchanged(task: object, base: type, *methods: str) -> bool:
    """Whether `task` does these things as mteb's class `base` for its kind does them."""
    return all(getattr(type(task), name) is getattr(base, name) for name in methods)
