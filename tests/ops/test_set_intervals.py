"""Intervals of set metrics against exact formulas and simulated studies whose truth is known."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from cinetune.ops.distances import mmd, video_kernel
from cinetune.ops.frechet import frechet, pulls
from cinetune.ops.set_intervals import bootstrap, first_order, jackknife
from cinetune.ops.statistics import Interval


def lognormal(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(0.0, 0.7, n)


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


def test_first_order_of_a_mean_is_the_t_interval() -> None:
    """The pull of value i on the mean of n is (value - mean) / n; clusters and samples as in the jackknife."""
    values = lognormal(24, 8)
    pull = (values - values.mean()) / 24
    found = first_order(float(values.mean()), pull, np.arange(24), level=0.95)
    assert found == pytest.approx(stats.t.interval(0.95, 23, values.mean(), stats.sem(values)))
    alone = values.reshape(12, 2).mean(axis=1)
    paired = first_order(float(values.mean()), pull, np.arange(24) // 2, level=0.95)
    assert paired == pytest.approx(stats.t.interval(0.95, 11, alone.mean(), stats.sem(alone)))
    side = np.repeat([0, 1], [10, 14])
    parts = [values[side == s] for s in (0, 1)]
    pull = np.concatenate([(part - part.mean()) / len(part) for part in parts])
    low, high = first_order(0.0, pull, np.arange(24), level=0.95, strata=side)
    error = np.sqrt(sum(part.var(ddof=1) / len(part) for part in parts))
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.975, 22) * error)
    with pytest.raises(ValueError, match="two clusters"):
        first_order(0.0, pull, np.zeros(24, int), level=0.95)


def test_first_order_is_near_the_jackknife_where_there_are_many() -> None:
    rng = np.random.default_rng(16)
    x, y = rng.standard_normal((300, 5)), 1.2 * rng.standard_normal((300, 5)) + 0.3
    both = np.concatenate([x, y])
    left = np.arange(600) < 300
    slow = jackknife(
        lambda keep: frechet(both[keep & left], both[keep & ~left]),
        np.arange(600),
        level=0.95,
        seed=0,
        strata=left.astype(int),
        most=300,
    )
    quick = first_order(frechet(x, y), np.concatenate(pulls(x, y)), np.arange(600), level=0.95, strata=left.astype(int))
    assert quick == pytest.approx(slow, rel=0.02)


def test_bootstrap_of_a_mean_is_the_percentile_interval_moved_to_the_mean() -> None:
    values = lognormal(40, 17)
    found = bootstrap(
        lambda times: float(np.average(values, weights=times)), np.arange(40), level=0.95, resamples=4000, seed=1
    )
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=2).confidence_interval
    assert found == pytest.approx(tuple(theirs), rel=0.02)
    again = bootstrap(
        lambda times: float(np.average(values, weights=times)), np.arange(40), level=0.95, resamples=4000, seed=1
    )
    assert found == again


def test_bootstrap_takes_off_its_own_bias_and_draws_strata_each_for_itself() -> None:
    """A number that only counts distinct items is constant after the shift up to its spread about its mean."""
    sizes = []

    def statistic(times: np.ndarray) -> float:
        sizes.append((times[:10].sum(), times[10:].sum()))
        return float((times > 0).sum())

    strata = np.repeat([0, 1], [10, 30])
    low, high = bootstrap(statistic, np.arange(40), level=0.9, resamples=500, seed=3, strata=strata)
    assert set(sizes) == {(10, 30)}
    assert low < 40 < high  # every draw has fewer distinct items than 40
    times_of = []
    bootstrap(
        lambda times: float(times_of.append(times) or times.mean()), np.arange(6) // 2, level=0.9, resamples=20, seed=0
    )
    assert all((times[::2] == times[1::2]).all() for times in times_of)


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


def moved(statistic: Callable[[np.ndarray], float], rng: np.random.Generator) -> Interval:
    seed = int(rng.integers(2**31))
    whole = np.arange(CLIPS)
    return bootstrap(lambda times: statistic(np.repeat(whole, times)), whole, level=0.95, resamples=100, seed=seed)


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
@pytest.mark.parametrize("make", [fvd_difference, fvd_alone])
def test_the_moved_bootstrap_covers_the_frechet_distance(make: Callable[..., Callable[[np.ndarray], float]]) -> None:
    assert coverage(make, moved) >= 0.91


@pytest.mark.slow
def test_the_percentile_bootstrap_does_not_cover_the_frechet_distance() -> None:
    """Copies make sets look less alike than they are. This is why it is not used."""
    assert coverage(fvd_alone, percentile) < 0.6
