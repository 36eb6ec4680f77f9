"""Scores of resamples, held against scipy, scikit-learn and mteb on the resampled items."""

import numpy as np
import pytest
from mteb.evaluation.evaluators import PairClassificationEvaluator
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import average_precision_score

from qzhou_eval.scores.item_scores import difference_of, score_of

SIZE = 60


def resamples(rng, count=25, size=SIZE):
    drawn = rng.integers(0, size, (count, size))
    counts = np.array([np.bincount(own, minlength=size) for own in drawn])
    return [np.repeat(np.arange(size), own) for own in counts], counts


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def tied(rng, levels):
    return rng.integers(0, levels, SIZE) / levels


def test_a_mean(rng):
    values = rng.random(SIZE)
    items, counts = resamples(rng)
    found = score_of({"map": values}, "map")(counts)
    assert found == pytest.approx([values[own].mean() for own in items], abs=1e-12)


@pytest.mark.parametrize(
    ("metric", "scipy"), [("cosine_spearman", spearmanr), ("pearson", pearsonr)]
)
@pytest.mark.parametrize("levels", [1000, 5])
def test_a_correlation(rng, metric, scipy, levels):
    similar, gold = tied(rng, levels), tied(rng, 6)
    items, counts = resamples(rng)
    found = score_of({"cosine": similar, "gold": gold}, metric)(counts)
    expected = [scipy(similar[own], gold[own]).statistic for own in items]
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_correlation_of_what_is_constant_is_none(rng):
    flat = {"cosine": np.ones(4), "gold": np.arange(4.0)}
    assert score_of(flat, "cosine_spearman")(np.ones((1, 4), dtype=int)).tolist() == [0]


@pytest.mark.parametrize("levels", [1000, 5])
def test_average_precision(rng, levels):
    kinds = {name: tied(rng, levels) for name in ("cosine", "dot")}
    labels = (rng.random(SIZE) < 0.3).astype(float)
    items, counts = resamples(rng)
    found = score_of({**kinds, "label": labels}, "max_ap")(counts)
    expected = [
        max(average_precision_score(labels[own], kind[own]) for kind in kinds.values())
        for own in items
    ]
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", ["max_accuracy", "max_f1"])
def test_the_best_threshold_is_mtebs(rng, metric):
    labels = (rng.random(SIZE) < 0.3).astype(int)
    similar = rng.random(SIZE)
    find = {
        "max_accuracy": PairClassificationEvaluator.find_best_acc_and_threshold,
        "max_f1": PairClassificationEvaluator.find_best_f1_and_threshold,
    }[metric]
    items, counts = resamples(rng)
    found = score_of({"cosine": similar, "label": labels.astype(float)}, metric)(counts)
    expected = [find(similar[own], labels[own], True)[0] for own in items]
    # mteb may set its threshold between a pair and its double, we may not.
    assert found == pytest.approx(expected, abs=1.5 / SIZE)
    once = score_of({"cosine": similar, "label": labels.astype(float)}, metric)
    exact = find(similar, labels, True)[0]
    assert once(np.ones((1, SIZE), dtype=int))[0] == pytest.approx(exact, abs=1e-12)


def test_a_difference_is_b_less_a(rng):
    gold = tied(rng, 5)
    a, b = ({"cosine": rng.random(SIZE), "gold": gold} for _ in range(2))
    _, counts = resamples(rng)
    one, other = (score_of(own, "cosine_spearman")(counts) for own in (a, b))
    found = difference_of(a, b, "cosine_spearman")(counts)
    assert found == pytest.approx(other - one)
    means = difference_of({"map": one}, {"map": other}, "map")(np.ones((1, len(one)), dtype=int))
    assert means[0] == pytest.approx((other - one).mean())


def test_what_cannot_be_compared_is_refused(rng):
    own = {"cosine": rng.random(SIZE), "gold": tied(rng, 5)}
    with pytest.raises(ValueError, match="golds of the two differ: other data"):
        difference_of(own, {**own, "gold": own["gold"][::-1]}, "cosine_spearman")
    with pytest.raises(ValueError, match="kept other figures"):
        difference_of(own, {"map": own["gold"]}, "cosine_spearman")
    for figures, metric in (
        (own, "map"),
        (own, ""),
        ({"map": own["gold"]}, "mrr"),
        ({"gold": own["gold"], "label": own["gold"]}, "max_ap"),
        ({"cosine": own["gold"], "label": own["gold"]}, "max_precision"),
    ):
        with pytest.raises(ValueError, match="is not made of"):
            score_of(figures, metric)
