"""Noise against textbook figures, and on data of which it is known whether anything differs."""

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from qzhou_eval.scores import noise as noise_module
from qzhou_eval.scores.item_scores import difference_of, mean_of
from qzhou_eval.scores.noise import ALPHA, Stratum, bootstrap, holm, over_draws

RUNS = 300


def of_means(*differences, resamples=2000, seed=1):
    pairs = [(mean_of(own), len(own)) for own in differences]
    return bootstrap(pairs, resamples, seed, "queries")


def test_the_standard_error_of_a_mean():
    values = np.random.default_rng(3).normal(0.1, 1, 400)
    found = of_means(values, resamples=10_000)
    assert found.standard_error == pytest.approx(values.std(ddof=1) / 20, rel=0.03)
    # Of that many items a mean is as good as normal, and so is Student's p.
    assert found.p == pytest.approx(ttest_rel(values, np.zeros(400)).pvalue, abs=0.02)
    assert found.source == "bootstrap over 400 queries"


def test_the_same_seed_gives_the_same_figures_whatever_the_chunk(monkeypatch):
    values = np.random.default_rng(3).normal(0, 1, 50)
    found = of_means(values)
    assert of_means(values) == found
    assert of_means(values, seed=2) != found
    monkeypatch.setattr(noise_module, "CHUNK", 7 * 50)
    assert of_means(values) == found
    monkeypatch.setattr(noise_module, "WORK", 50 * 600)
    assert of_means(values).standard_error == pytest.approx(found.standard_error, rel=0.2)


def test_subsets_are_resampled_apart_and_weigh_the_same():
    rng = np.random.default_rng(4)
    small, large = rng.normal(0, 1, 40), rng.normal(0, 3, 900)
    expected = np.sqrt(small.var(ddof=1) / 40 + large.var(ddof=1) / 900) / 2
    assert of_means(small, large, resamples=8000).standard_error == pytest.approx(
        expected, rel=0.04
    )


def test_p_has_its_correction_and_its_limits():
    assert of_means(np.full(50, 0.2)).p == pytest.approx(1 / 2001)
    assert of_means(np.zeros(50)).p == 1
    # One query of fifty differs: that is nothing.
    assert of_means(np.eye(50)[0]).p > 0.2


def shares(make, test):
    """Return how often a difference was found in data of `make`, at `ALPHA`."""
    rng = np.random.default_rng(20)
    return np.mean([test(make(rng)) <= ALPHA for _ in range(RUNS)])


def skewed(shift):
    """Differences of per-query scores: most of them none, the others of any size and sign."""

    def make(rng, size=60):
        values = rng.choice([-1, 1], size) * rng.exponential(0.2, size) * (rng.random(size) < 0.4)
        return values + shift

    return make


def p_of_mean(values):
    return of_means(values, resamples=500).p


def test_where_nothing_differs_it_is_seldom_found():
    # 300 runs of 5 %: between 2 and 8 % but once in a hundred times.
    assert 0.02 <= shares(skewed(0.0), p_of_mean) <= 0.08
    few = shares(lambda rng: rng.normal(0, 1, 12), p_of_mean)
    assert 0.02 <= few <= 0.08


def test_where_something_differs_it_is_found():
    assert shares(skewed(0.1), p_of_mean) > 0.9


def correlated(gain):
    """Two models' similarities of the same 80 pairs, the second one better by `gain`."""

    def make(rng, size=80):
        gold = rng.integers(0, 6, size) / 5
        shared = rng.normal(0, 0.3, size)
        noise = [rng.normal(0, 0.3, size) for _ in range(2)]
        one, other = (gold * w + shared + own for w, own in zip((1, 1 + gain), noise, strict=True))
        return {"cosine": one, "gold": gold}, {"cosine": other, "gold": gold}

    return make


def p_of_correlation(both):
    difference = difference_of(*both, "cosine_spearman")
    return bootstrap([(difference, 80)], 200, 1, "pairs").p


def test_correlations_that_differ_by_chance_and_those_that_do_not():
    assert 0.01 <= shares(correlated(0.0), p_of_correlation) <= 0.08
    assert shares(correlated(1.0), p_of_correlation) > 0.9


def test_paired_draws_are_students():
    rng = np.random.default_rng(6)
    a = rng.normal(0.7, 0.02, 10)
    b = a + rng.normal(0.005, 0.004, 10)
    found = over_draws([Stratum(a, b, 1.0)], paired=True)
    assert found.p == pytest.approx(ttest_rel(b, a).pvalue, rel=1e-9)
    assert found.standard_error == pytest.approx((b - a).std(ddof=1) / np.sqrt(10))
    assert found.source == "t-test over 10 paired draws"
    apart = over_draws([Stratum(a, b, 1.0)], paired=False)
    assert apart.p == pytest.approx(ttest_ind(b, a, equal_var=False).pvalue, rel=1e-9)
    assert apart.p > found.p


def test_strata_are_weighed():
    rng = np.random.default_rng(7)
    a, b = rng.normal(0.5, 0.02, (2, 10)), rng.normal(0.5, 0.04, (2, 10))
    strata = [Stratum(a[n], b[n], weight) for n, weight in enumerate((0.75, 0.25))]
    found = over_draws(strata, paired=True)
    variances = (b - a).var(axis=1, ddof=1) / 10
    assert found.standard_error == pytest.approx(
        np.sqrt((np.array([0.75, 0.25]) ** 2 * variances).sum())
    )


def test_draws_that_differ_by_chance():
    def p_of_draws(samples):
        return over_draws([Stratum(*samples, 1.0)], paired=True).p

    assert 0.02 <= shares(lambda rng: rng.normal(0.7, 0.01, (2, 10)), p_of_draws) <= 0.08


def test_holm_as_worked_out_by_hand():
    # Four tests: 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1 raised to the one before.
    p_values = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    expected = {"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06}
    assert holm(p_values) == pytest.approx(expected)
    assert holm({"a": 0.6, "b": 0.9}) == {"a": 1.0, "b": 1.0}
    assert holm({"a": 0.05}) == {"a": 0.05}
    assert holm({}) == {}
