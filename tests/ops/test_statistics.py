"""Intervals of means and tests against exact formulas, scipy, and simulated studies whose truth is known."""

import numpy as np
import pytest
from scipy import stats

from cinetune.ops.statistics import Interval, bootstrap_mean, holm, mean_swap_test, swap_test


def lognormal(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(0.0, 0.7, n)


def test_bootstrap_mean_agrees_with_scipy() -> None:
    values = lognormal(40, 0)
    ours = bootstrap_mean(values, level=0.95, resamples=20_000, seed=1)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=2).confidence_interval
    assert ours == pytest.approx(tuple(theirs), rel=0.01)


def test_bootstrap_mean_is_seeded_and_leaves_the_global_generator_alone() -> None:
    values = lognormal(24, 3)
    state = np.random.get_state()[1].copy()
    first = bootstrap_mean(values, level=0.9, resamples=500, seed=4)
    assert first == bootstrap_mean(values, level=0.9, resamples=500, seed=4)
    assert first != bootstrap_mean(values, level=0.9, resamples=500, seed=5)
    assert (np.random.get_state()[1] == state).all()


def test_bootstrap_mean_draws_clusters_together() -> None:
    """Eight copies of each of six numbers know no more than the six numbers."""
    values = lognormal(6, 6)
    alone = bootstrap_mean(values, level=0.95, resamples=4000, seed=7)
    copies = bootstrap_mean(
        np.repeat(values, 8), level=0.95, resamples=4000, seed=7, clusters=np.repeat(np.arange(6), 8)
    )
    assert copies == pytest.approx(alone)


def test_bootstrap_mean_of_a_constant_is_a_point_and_of_one_cluster_an_error() -> None:
    assert bootstrap_mean(np.full(5, 0.25), level=0.95, resamples=100, seed=0) == Interval(0.25, 0.25)
    with pytest.raises(ValueError, match="two clusters"):
        bootstrap_mean(np.ones(3), level=0.95, resamples=100, seed=0, clusters=np.zeros(3, int))


def test_mean_swap_test_agrees_with_all_sign_flips() -> None:
    differences = np.array([0.3, 0.1, 0.4, -0.1, 0.5, 0.2, 0.25, 0.05])
    exact = stats.permutation_test(
        (differences, np.zeros(8)), lambda x, y: np.mean(x - y), permutation_type="samples"
    ).pvalue
    found = mean_swap_test(differences, permutations=20_000, seed=0)
    assert found == pytest.approx(exact, abs=0.005)


def test_flipping_signs_is_swapping_arms() -> None:
    """The quick form for means throws the same coins as the general one."""
    rng = np.random.default_rng(16)
    differences, clusters = rng.normal(0.3, 1.0, 30), np.arange(30) // 2
    expected = swap_test(
        lambda swap: float(np.where(swap, -differences, differences).mean()), clusters, permutations=500, seed=1
    )
    assert 0.002 < expected < 0.9
    assert mean_swap_test(differences, permutations=500, seed=1, clusters=clusters) == expected


def test_swap_test_is_one_for_no_difference_never_zero_and_swaps_clusters_whole() -> None:
    assert mean_swap_test(np.zeros(5), permutations=200, seed=0) == 1.0
    assert mean_swap_test(np.ones(40), permutations=200, seed=0) == pytest.approx(1 / 201)
    clusters = np.repeat(np.arange(3), 10)  # three coins: one throw in four shows one side only
    assert mean_swap_test(np.ones(30), permutations=4000, seed=0, clusters=clusters) == pytest.approx(0.25, abs=0.03)


def test_swap_test_keeps_its_level_when_nothing_differs() -> None:
    rng = np.random.default_rng(12)
    p = [mean_swap_test(rng.standard_normal(12), permutations=99, seed=i) for i in range(400)]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.035)
    assert swap_test(lambda swap: 0.0, np.arange(3), permutations=10, seed=0) == 1.0


def test_holm_by_hand() -> None:
    """Smallest times 4, next times 3, and never below the one before."""
    assert holm(np.array([0.04, 0.01, 0.03, 0.02])) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm(np.array([0.9, 0.5])) == pytest.approx([1.0, 1.0])
    assert holm(np.array([0.02])) == pytest.approx([0.02])
    assert len(holm(np.array([]))) == 0


def test_holm_keeps_the_level_of_a_family_of_tests_that_hang_together() -> None:
    """Ten metrics of the same 12 videos, none of which differs: a false one in at most 5 of 100 families."""
    rng = np.random.default_rng(15)
    families = 600
    common = rng.standard_normal((families, 12, 1))
    values = 0.7 * common + 0.7 * rng.standard_normal((families, 12, 10))
    p_values = stats.ttest_1samp(values, 0, axis=1).pvalue
    assert np.mean((p_values <= 0.05).any(axis=1)) > 0.15
    assert np.mean([(holm(p) <= 0.05).any() for p in p_values]) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / families)


@pytest.mark.slow
def test_bootstrap_mean_covers_the_mean_of_skewed_distances() -> None:
    rng = np.random.default_rng(14)
    hits = 0
    for i in range(1000):
        low, high = bootstrap_mean(rng.gamma(4.0, 0.05, 24), level=0.95, resamples=1000, seed=i)
        hits += low <= 0.2 <= high
    assert hits / 1000 > 0.915
