"""Intervals and tests against exact formulas, scipy, and simulated studies whose truth is known."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from cinetune.ops.distances import frechet, mmd, video_kernel
from cinetune.ops.statistics import Interval, bootstrap_mean, jackknife, mean_swap_test, swap_test


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


def test_jackknife_of_a_mean_is_the_t_interval() -> None:
    values = lognormal(24, 8)
    found = jackknife(lambda keep: float(values[keep].mean()), np.arange(24), level=0.95, seed=0)
    assert found == pytest.approx(stats.t.interval(0.95, 23, values.mean(), stats.sem(values)))


def test_jackknife_of_two_samples_adds_their_variances() -> None:
    x, y = lognormal(10, 9), lognormal(30, 10)
    both = np.concatenate([x, y])
    side = np.repeat([0, 1], [10, 30])
    low, high = jackknife(
        lambda keep: float(both[keep & (side == 0)].mean() - both[keep & (side == 1)].mean()),
        np.arange(40),
        level=0.95,
        seed=0,
        strata=side,
    )
    error = np.sqrt(x.var(ddof=1) / 10 + y.var(ddof=1) / 30)
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.975, 38) * error)


def test_jackknife_in_groups_gives_nearly_the_same() -> None:
    values = lognormal(1000, 11)
    whole = jackknife(lambda k: float(values[k].mean()), np.arange(1000), level=0.95, seed=0, most=1000)
    grouped = jackknife(lambda k: float(values[k].mean()), np.arange(1000), level=0.95, seed=0)
    assert grouped.high - grouped.low == pytest.approx(whole.high - whole.low, rel=0.25)
    with pytest.raises(ValueError, match="two clusters"):
        jackknife(lambda k: 0.0, np.zeros(3, int), level=0.95, seed=0)


def test_mean_swap_test_agrees_with_all_sign_flips() -> None:
    differences = np.array([0.3, 0.1, 0.4, -0.1, 0.5, 0.2, 0.25, 0.05])
    exact = stats.permutation_test(
        (differences, np.zeros(8)), lambda x, y: np.mean(x - y), permutation_type="samples"
    ).pvalue
    found = mean_swap_test(differences, permutations=20_000, seed=0)
    assert found == pytest.approx(exact, abs=0.005)


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


# --------------------------------------------------------------------- simulated studies, truth known

CLIPS, FRAMES, WIDTH, STUDIES = 24, 2, 12, 300


def study(rng: np.random.Generator, clips: int = CLIPS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of real, base and tuned videos (clips x frames x d), alike within a clip, base farther from real."""
    scene = rng.standard_normal((clips, 1, WIDTH))
    real = 1 + scene + 0.3 * rng.standard_normal((clips, FRAMES, WIDTH))
    tuned = real + 0.25 + 0.5 * rng.standard_normal((clips, 1, WIDTH))
    base = real * 0.8 + 0.5 + 0.5 * rng.standard_normal((clips, 1, WIDTH))
    return real, base, tuned


def kid_difference(videos: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Callable[[np.ndarray], float]:
    """ "tuned - base" as a function of the clips that are counted; copies of a clip share its cluster."""
    real, base, tuned = videos
    clips = len(real)
    kernel = video_kernel([*real, *base, *tuned])
    clusters = np.tile(np.arange(clips), 3)

    def statistic(picked: np.ndarray) -> float:
        at = np.flatnonzero(picked) if picked.dtype == bool else picked
        far = mmd(kernel, at + 2 * clips, at, clusters)
        return far - mmd(kernel, at + clips, at, clusters)

    return statistic


def fvd_difference(videos: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Callable[[np.ndarray], float]:
    real, base, tuned = (video.mean(axis=1) for video in videos)
    return lambda picked: frechet(tuned[picked], real[picked]) - frechet(base[picked], real[picked])


def fvd_alone(videos: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Callable[[np.ndarray], float]:
    real, _, tuned = (video.mean(axis=1) for video in videos)
    return lambda picked: frechet(tuned[picked], real[picked])


def jackknifed(statistic: Callable[[np.ndarray], float], rng: np.random.Generator) -> Interval:
    return jackknife(statistic, np.arange(CLIPS), level=0.95, seed=0)


def percentile(statistic: Callable[[np.ndarray], float], rng: np.random.Generator) -> Interval:
    """The interval that is not used: clips drawn with replacement, 2.5 % cut off at each end."""
    draws = [statistic(rng.integers(0, CLIPS, CLIPS)) for _ in range(100)]
    return Interval(*np.quantile(draws, [0.025, 0.975]))


def coverage(make: Callable[..., Callable[[np.ndarray], float]], interval: Callable[..., Interval]) -> float:
    """Share of studies whose interval holds the expected value of the statistic."""
    rng = np.random.default_rng(13)
    truth = np.mean([make(study(rng))(np.ones(CLIPS, bool)) for _ in range(1000)])
    hits = 0
    for _ in range(STUDIES):
        low, high = interval(make(study(rng)), rng)
        hits += low <= truth <= high
    return hits / STUDIES


@pytest.mark.slow
@pytest.mark.parametrize("make", [kid_difference, fvd_difference, fvd_alone])
def test_the_jackknife_covers_set_metrics(make: Callable[..., Callable[[np.ndarray], float]]) -> None:
    """In 300 studies of 24 clips: 95 %, less three standard errors."""
    assert coverage(make, jackknifed) >= 0.91


@pytest.mark.slow
def test_the_percentile_bootstrap_does_not_cover_the_frechet_distance() -> None:
    """Copies make sets look less alike than they are. This is why it is not used."""
    assert coverage(fvd_alone, percentile) < 0.6


@pytest.mark.slow
def test_bootstrap_mean_covers_the_mean_of_skewed_distances() -> None:
    rng = np.random.default_rng(14)
    hits = 0
    for i in range(1000):
        low, high = bootstrap_mean(rng.gamma(4.0, 0.05, 24), level=0.95, resamples=1000, seed=i)
        hits += low <= 0.2 <= high
    assert hits / 1000 > 0.915
