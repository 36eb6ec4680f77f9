"""How far two scores differ by chance: of the items that were asked, or of the draws."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from qzhou_eval.scores.item_scores import Counts, Figures, Weighted

ALPHA = 0.05
"""Chance at which a family of equal scores is taken to differ somewhere."""
CONFIDENCE = float(norm.ppf(1 - ALPHA / 2))
"""Standard errors to either side of an interval."""
FEWEST = 10
"""Fewest items of a split and subset from which their noise can be told."""
FEWEST_DRAWS = 5
"""Fewest draws, likewise."""
RESAMPLES_OF_MEANS = 10_000
RESAMPLES = 2_000
"""Of scores that take longer than a mean. 1 / 2,001 is below what Holm asks of the least of 72
p-values, both suites' tasks."""
WORK = 400_000_000
"""Most items drawn for a task; a score of so many that it gets fewer resamples needs no more."""
LEAST_RESAMPLES = 500
CHUNK = 2**20
"""Counts held at a time: 8 MiB, and a few times that while they are scored."""
ROUNDING = 1e-6
"""Step of the figures of a result file."""


@dataclass(frozen=True)
class Noise:
    """What is known of the chance in a difference, on the scale of the scores (0 to 1).

    Attributes:
        standard_error: Of the difference.
        p: How likely a difference as large, of either sign, is where there is none.
        source: What was drawn again, in words: "bootstrap over 1,000 queries".
    """

    standard_error: float
    p: float
    source: str


def bootstrap(
    differences: Sequence[tuple[Weighted, int]], wished: int, seed: int, what: str
) -> Noise:
    """Resample items, the same for both runs, and see how their difference varies.

    The distribution of the resamples' differences about the observed one stands for that of a
    difference about its true value (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
    chapter 16); p is the share of them as far from it as it is from 0, the observed one counted
    among them (Davison and Hinkley, Bootstrap Methods and their Application, 1997, chapter 4).
    A bootstrap's distribution is too narrow for few items, by sqrt((n - 1) / n) and by what makes
    Student's t of a normal quantile; both are made up for (Hesterberg, What Teachers Should Know
    About the Bootstrap, The American Statistician 69, 2015).

    Args:
        differences: For each split and subset, B's score less A's and the number of items. The
            difference of a task is their mean; their items are resampled apart.
        wished: Resamples; fewer where items are very many.
        seed: Of the generator: the same comparison gives the same figures.
        what: What the items are, in the plural.
    """
    generator = np.random.default_rng(seed)
    sizes = [size for _, size in differences]
    resamples = max(LEAST_RESAMPLES, min(wished, WORK // sum(sizes)))
    observed, deviations = 0.0, np.zeros(resamples)
    for score, size in differences:
        own = float(score(np.ones((1, size), dtype=np.int64))[0])
        drawn = np.concatenate([score(c) for c in _counts(size, resamples, generator)])
        observed += own / len(differences)
        deviations += (drawn - own) * math.sqrt(size / (size - 1)) / len(differences)
    widened = deviations * float(t.ppf(1 - ALPHA / 2, min(sizes) - 1)) / CONFIDENCE
    # What is as far away but for the last bit is as far away.
    beyond = int(np.count_nonzero(np.abs(widened) >= abs(observed) - 1e-12))
    return Noise(
        standard_error=float(deviations.std()),
        p=(1 + beyond) / (resamples + 1),
        source=f"bootstrap over {sum(sizes):,} {what}",
    )


def _counts(size: int, resamples: int, generator: np.random.Generator) -> Iterator[Counts]:
    """Yield how often each of `size` items is drawn in each resample, some resamples at a time."""
    rows = max(1, CHUNK // size)
    for start in range(0, resamples, rows):
        own = min(rows, resamples - start)
        drawn = generator.integers(0, size, (own, size)) + size * np.arange(own)[:, None]
        yield np.bincount(drawn.ravel(), minlength=own * size).reshape(own, size)


@dataclass(frozen=True)
class Stratum:
    """Draws of one kind, of both runs: an experiment each, or a clustering each.

    Attributes:
        a: A's scores, (draws,), 0 to 1.
        b: B's scores; of the same draws, in the same order, if they are paired.
        weight: What their mean weighs in the task's score.
    """

    a: Figures
    b: Figures
    weight: float


def over_draws(strata: Sequence[Stratum], *, paired: bool) -> Noise:
    """Test the mean difference over draws with Student's t.

    A score of classification is the mean over some ten training sets drawn from one pool, of
    clustering over as many samples or given sets. The draws are independent of each other and the
    same for both runs, so their differences are a sample of the difference that other draws would
    give: the paired t-test (Student, The Probable Error of a Mean, Biometrika 6, 1908). A
    permutation of ten signs has 1,024 outcomes and could never give a p below 2 / 1,024, which
    Holm asks for in a suite of 26 tasks or more; t, whose assumption means over a test set come
    close to, can. Where each level or subset has draws of its own, these are strata with weights,
    and the degrees of freedom are Satterthwaite's (Biometrics Bulletin 2, 1946). Draws that are
    not the same for both runs are two samples, by Welch's t (Biometrika 34, 1947).

    The pool and the test set are the same throughout: that others might have been chosen is no
    part of this noise, and Nadeau and Bengio (Inference for the Generalization Error, Machine
    Learning 52, 2003) tell how much larger it would be with them.

    Args:
        strata: The draws.
        paired: Whether those of the two runs are the same draws.
    """
    observed, terms = 0.0, []
    for own in strata:
        observed += own.weight * float(own.b.mean() - own.a.mean())
        samples = (own.b - own.a,) if paired else (own.a, own.b)
        for sample in samples:
            # The figures are rounded: they cannot vary by less than that.
            variance = max(float(sample.var(ddof=1)), ROUNDING**2 / 6)
            terms.append((own.weight**2 * variance / len(sample), len(sample) - 1))
    total = sum(term for term, _ in terms)
    freedom = total**2 / sum(term**2 / degrees for term, degrees in terms)
    error = math.sqrt(total)
    count = sum(len(own.a) for own in strata)
    return Noise(
        standard_error=error,
        p=float(2 * t.sf(abs(observed) / error, freedom)),
        source=f"t-test over {count:,} {'paired' if paired else 'unpaired'} draws",
    )


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values adjusted for being so many, by Holm's method.

    An adjusted p of at most alpha is a difference; the chance of one or more such among tasks
    that do not differ is then alpha at most, whatever depends on what (Holm, A Simple Sequentially
    Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6, 1979).

    Args:
        p_values: Name of a test to its p.
    """
    adjusted: dict[str, float] = {}
    highest = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p))
        adjusted[name] = highest
    return adjusted
