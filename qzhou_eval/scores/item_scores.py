"""A main score as a function of how often each of its items counts.

What the bootstrap needs: a resample of n items is a count for each of them, and a score of many
resamples is computed at once, without sorting anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Figures = NDArray[np.float64]
"""One number an item, (items,)."""
Counts = NDArray[np.int64]
"""How often each item counts, (resamples, items)."""
Weighted = Callable[[Counts], Figures]
"""Counts to the score of each resample, (resamples,)."""

GOLD, LABEL = "gold", "label"
"""Figures that the data gives, not the model."""


def score_of(figures: Mapping[str, Figures], metric: str) -> Weighted:
    """Return the main score that items of these figures make.

    Args:
        figures: Name of a figure to its values.
        metric: Name of the main score.

    Raises:
        ValueError: `metric` is not made of such figures.
    """
    similar = [values for name, values in figures.items() if name not in (GOLD, LABEL)]
    figure = metric.rpartition("_")[2]
    if len(figures) == 1 and list(figures) == [metric]:
        return mean_of(figures[metric])
    if GOLD in figures and len(figures) == 2 and figure in ("spearman", "pearson"):
        return correlation_of(similar[0], figures[GOLD], ranked=figure == "spearman")
    if LABEL in figures and metric in BEST and similar:
        return best_of(similar, figures[LABEL], BEST[metric])
    raise ValueError(f"{metric or 'a score'} is not made of {', '.join(figures)}")


def difference_of(a: Mapping[str, Figures], b: Mapping[str, Figures], metric: str) -> Weighted:
    """Return B's main score less A's, both of the same items.

    Raises:
        ValueError: their figures are not the same, or those that the data gives differ.
    """
    if set(a) != set(b):
        raise ValueError("the two runs kept other figures")
    for given in (GOLD, LABEL):
        if given in a and not np.array_equal(a[given], b[given]):
            raise ValueError(f"the {given}s of the two differ: other data")
    first, second = score_of(a, metric), score_of(b, metric)
    if list(a) == [metric]:
        return mean_of(b[metric] - a[metric])
    return lambda counts: second(counts) - first(counts)


def mean_of(values: Figures) -> Weighted:
    """Return the mean of `values`."""

    def mean(counts: Counts) -> Figures:
        total: Figures = counts @ values / counts.sum(axis=1)
        return total

    return mean


def correlation_of(similar: Figures, gold: Figures, *, ranked: bool) -> Weighted:
    """Return the correlation of `similar` with `gold`: Spearman's if `ranked`, else Pearson's.

    0 where one of the two is constant.
    """
    left, right = (_ranks(v) if ranked else _as_they_are(v) for v in (similar, gold))

    def correlation(counts: Counts) -> Figures:
        total = counts.sum(axis=1)
        parts = []
        for side in (left(counts), right(counts)):
            centre = (counts * side).sum(axis=1) / total
            parts.append(side - centre[:, None])
        x, y = parts
        spread = np.sqrt((counts * x * x).sum(axis=1) * (counts * y * y).sum(axis=1))
        together: Figures = (counts * x * y).sum(axis=1)
        return np.asarray(np.divide(together, spread, np.zeros_like(together), where=spread > 0))

    return correlation


def _as_they_are(values: Figures) -> Weighted:
    return lambda counts: values[None, :]


def _ranks(values: Figures) -> Weighted:
    """Return the ranks of `values` in every resample, (resamples, items); ties share theirs."""
    distinct, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(distinct)))

    def ranks(counts: Counts) -> Figures:
        together = np.add.reduceat(counts[:, order], starts, axis=1)
        below = np.cumsum(together, axis=1) - together
        found: Figures = (below + (together + 1) / 2)[:, group]
        return found

    return ranks


Measure = Callable[[Counts, Counts, NDArray[np.intp]], Figures]
"""Pairs and, of them, positives down to each place of a ranking, both (resamples, items), and the
places where a tie ends, to the score of each resample."""


def best_of(kinds: Sequence[Figures], labels: Figures, measure: Measure) -> Weighted:
    """Return the best score that one of several kinds of similarity gets.

    Args:
        kinds: Similarities of each pair, of each kind.
        labels: 1 where a pair's texts mean the same, else 0.
        measure: Scores a ranking.
    """
    positive = labels == 1
    rankings = []
    for similar in kinds:
        order = np.argsort(-similar, kind="stable")
        ends = np.append(np.flatnonzero(np.diff(similar[order])), len(similar) - 1)
        rankings.append((order, ends))

    def best(counts: Counts) -> Figures:
        found = []
        for order, ends in rankings:
            counted = counts[:, order]
            taken = np.cumsum(counted, axis=1)
            right = np.cumsum(counted * positive[order], axis=1)
            found.append(measure(taken, right, ends))
        return np.asarray(np.max(found, axis=0))

    return best


def _precision(taken: Counts, right: Counts, ends: NDArray[np.intp]) -> Figures:
    """Return average precision, as scikit-learn defines it; 0 without a positive pair."""
    taken, right = taken[:, ends], right[:, ends]
    recalled = np.diff(right, axis=1, prepend=0) / np.maximum(right[:, -1:], 1)
    return np.asarray((recalled * right / np.maximum(taken, 1)).sum(axis=1))


def _accuracy(taken: Counts, right: Counts, ends: NDArray[np.intp]) -> Figures:
    """Return the accuracy at the best threshold, as mteb finds it: not all pairs are taken."""
    total, positive = taken[:, -1:], right[:, -1:]
    correct = right + (total - positive) - (taken - right)
    return np.asarray(np.where(taken < total, correct, 0).max(axis=1) / total[:, 0])


def _f1(taken: Counts, right: Counts, ends: NDArray[np.intp]) -> Figures:
    """Return F1 at the best threshold, as mteb finds it."""
    total, positive = taken[:, -1:], right[:, -1:]
    f1 = 2 * right / np.maximum(taken + positive, 1)
    return np.asarray(np.where(taken < total, f1, 0).max(axis=1))


BEST: Mapping[str, Measure] = {"max_ap": _precision, "max_accuracy": _accuracy, "max_f1": _f1}
"""Main scores of pair classification."""
