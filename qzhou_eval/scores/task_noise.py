"""How far a task's two scores differ by chance, from what the two runs kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qzhou_eval.evaluate.units import Unit, units
from qzhou_eval.files import text_digest
from qzhou_eval.scores.draws import Draws, draws
from qzhou_eval.scores.item_scores import Weighted, difference_of
from qzhou_eval.scores.noise import (
    FEWEST,
    FEWEST_DRAWS,
    RESAMPLES,
    RESAMPLES_OF_MEANS,
    Noise,
    Stratum,
    bootstrap,
    over_draws,
)
from qzhou_eval.scores.reading import TaskScores
from qzhou_eval.scores.result_folder import ResultFolder
from qzhou_eval.scores.run_items import ItemsLackingError, Named, in_order, run_items, unit_figures
from qzhou_eval.suite.suite import TaskSpec

WHAT = {
    "Retrieval": "queries",
    "Reranking": "queries",
    "STS": "pairs",
    "PairClassification": "pairs",
    "Summarization": "texts",
}
"""What the items of a type of task are."""


Figured = tuple[tuple[str, ...], Named]
"""Names of items, and their figures."""


class NoiseUnknownError(Exception):
    """There is nothing to tell a difference's noise from; says why."""


@dataclass(frozen=True)
class Result:
    """One run's result of a task.

    Attributes:
        name: "A" or "B".
        folder: The run's folder.
        scores: The result.
    """

    name: str
    folder: ResultFolder
    scores: TaskScores


def counted(spec: TaskSpec) -> list[Unit]:
    """Return the splits and subsets that count, each once."""
    return list(dict.fromkeys(units(spec)))


def task_noise(spec: TaskSpec, a: Result, b: Result) -> Noise:
    """Return the noise of B's score less A's.

    Raises:
        NoiseUnknownError: it cannot be told.
    """
    if spec.type in WHAT:
        return _of_items(spec, a, b)
    return _of_draws(spec, a, b)


def _of_items(spec: TaskSpec, a: Result, b: Result) -> Noise:
    kept: list[list[Figured]] = []
    lacking: dict[str, list[str]] = {}
    for side in (a, b):
        try:
            found = run_items(side.folder, spec.name)
            kept.append([unit_figures(found, u, spec, side.scores) for u in counted(spec)])
        except ItemsLackingError as why:
            lacking.setdefault(str(why), []).append(side.name)
    if lacking:
        told = (f"{' and '.join(names)} {why}" for why, names in lacking.items())
        raise NoiseUnknownError("; ".join(told))
    differences = [
        (_difference(spec, unit, *own), len(own[0][0]))
        for unit, own in zip(counted(spec), zip(*kept, strict=True), strict=True)
    ]
    single = all(len(figures) == 1 for _, figures in kept[0])
    seed = int(text_digest(spec.name)[:8], 16)
    wished = RESAMPLES_OF_MEANS if single else RESAMPLES
    return bootstrap(differences, wished, seed, WHAT[spec.type])


def _difference(spec: TaskSpec, unit: Unit, a: Figured, b: Figured) -> Weighted:
    """Return B's score of a unit less A's, as a function of how often its items count."""
    place = ", ".join(unit)
    if len(a[0]) < FEWEST:
        raise NoiseUnknownError(f"{len(a[0])} {WHAT[spec.type]} of {place} are too few to tell")
    if set(a[0]) != set(b[0]):
        raise NoiseUnknownError(f"A's and B's {WHAT[spec.type]} of {place} are not the same")
    try:
        return difference_of(a[1], in_order(b[1], b[0], a[0]), spec.metric)
    except ValueError as error:
        raise NoiseUnknownError(str(error)) from error


def _of_draws(spec: TaskSpec, a: Result, b: Result) -> Noise:
    metric = spec.metric or "accuracy"
    strata: list[Stratum] = []
    paired = True
    for unit in counted(spec):
        rows = [side.scores.rows[unit] for side in (a, b)]
        first, second = (draws(row, metric) for row in rows)
        strata += _strata(first, second, len(counted(spec)))
        # The documents that are clustered are drawn by a generator of each task's own, and given
        # sets are given; training sets come from one that others may have drawn from.
        if any("scores_per_experiment" in row for row in rows):
            paired = paired and _drawn_alike(unit, spec, (a, b))
    if not any(np.ptp(scores) for own in strata for scores in (own.a, own.b)):
        # A training set so small that each draw is all of it.
        raise NoiseUnknownError("its draws are all alike")
    return over_draws(strata, paired=paired)


def _strata(a: Draws, b: Draws, count: int) -> list[Stratum]:
    """Return the draws of one of `count` units, level by level."""
    lengths = {level: len(own) for level, own in a.items()}
    total = sum(lengths.values())
    if not a or not b:
        raise NoiseUnknownError("there are neither items nor draws of it")
    if lengths != {level: len(own) for level, own in b.items()}:
        raise NoiseUnknownError("A and B have not as many draws")
    if total < FEWEST_DRAWS or min(lengths.values()) < 2:
        raise NoiseUnknownError(f"{total} draws are too few to tell")
    return [
        Stratum(a[level], b[level], length / total / count) for level, length in lengths.items()
    ]


def _drawn_alike(unit: Unit, spec: TaskSpec, sides: Sequence[Result]) -> bool:
    """Whether both runs say what was drawn before `unit`, and the same was."""
    said = []
    for side in sides:
        drawn = side.folder.entry(spec.name).get("drawn")
        own = [
            entry.get("drawn_after")
            for entry in (drawn if isinstance(drawn, list) else [])
            if isinstance(entry, dict) and (entry.get("split"), entry.get("subset")) == unit
        ]
        said.append(own[:1])
    return bool(said[0]) and said[0] == said[1]
