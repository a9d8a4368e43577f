"""Metrics of whole sets: distance of each arm to the real videos, their difference, and the noise floor.

A statistics file can stand for the real videos where a metric needs no more; intervals are over the arms alone then.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Integer

from cinetune.errors import MetricError
from cinetune.evaluate.estimates import REAL, TRAINING, Estimate, Resampling, Table, differences, too_few
from cinetune.evaluate.moments import UNSTATED, Stated, Statistics
from cinetune.metrics._contract import Comparison, SetMetric
from cinetune.ops import set_intervals
from cinetune.ops import statistics as tests
from cinetune.ops.frechet import Gaussian

HALVINGS, FEWER_HALVINGS = 50, 10
"""The latter where the metric says that its sets are large."""
FIRST_ORDER = "interval and p-value to first order: too many videos to leave out each in turn"
Positions = Integer[np.ndarray, " _"]
Mask = Bool[np.ndarray, " _"]
Times = Integer[np.ndarray, " _"] | Mask
"""How often each video counts, or whether it does."""


@dataclass(frozen=True)
class _Pool:
    """All videos that take part, ready to be compared in subsets."""

    metric: SetMetric
    made: Comparison
    clusters: Positions
    """Of each video."""
    sources: list[str]
    places: dict[str, Positions]
    """Positions of the videos of each arm; none are real where statistics stand for them."""
    note: str = ""
    """What else to say of every number."""

    def to_real(self, left: Positions, times: Times) -> float:
        """Return the distance of those of `left` that count to the real videos that count."""
        real = self.places[REAL]
        return self.made.distance(np.repeat(left, times[left]), np.repeat(real, times[real]))

    def pulls(self, left: Positions) -> Float[np.ndarray, " v"] | None:
        """Return each video's pull on the distance of `left` to the real videos; None where sets are small."""
        real = self.places[REAL]
        found = self.made.pulls(left, real)
        if found is None:
            return None
        every = np.zeros(len(self.clusters))
        np.add.at(every, left, found[0])
        np.add.at(every, real, found[1])
        return every


def estimates(metric: SetMetric, table: Table, how: Resampling, statistics: Statistics = UNSTATED) -> list[Estimate]:
    """Return the distance of each arm, the differences such as "tuned - base", and the floor "real".

    Intervals are over clusters, each left out of (or drawn into) the arms and the real videos at once, so that what
    a clip adds to both sides cancels as it does in the estimate. The p-value swaps the arms of random clips.
    """
    # A video without true continuation has no counterpart among the real ones, so it would compare unlike sets.
    kept = [
        (video, seen)
        for video, seen in zip(table.videos, table.seen, strict=True)
        if not isinstance(seen, str) and video.arm != TRAINING and (video.arm == REAL or video.matched)
    ]
    number = table.numbered()
    clusters = np.array([number[video.cluster] for video, _ in kept], np.int64)
    places = {
        arm: np.array([i for i, (video, _) in enumerate(kept) if video.arm == arm], np.int64)
        for arm in [*table.arms, REAL]
    }
    stated = statistics.real.get(metric.name)
    most = len(kept) if stated else len(places[REAL])
    sizes = {arm: min(len(positions), most) for arm, positions in places.items()}
    enough = [arm for arm in table.arms if sizes[arm] >= 2]
    made = [
        Estimate(arm, sizes[arm], reasons=(_lacking(metric, statistics, len(places[REAL])),))
        for arm in table.arms
        if arm not in enough
    ]
    if not enough:
        return made
    comparison = metric.score([seen for _, seen in kept if not isinstance(seen, str)], clusters)
    own = _Pool(metric, comparison, clusters, [video.source for video, _ in kept], places)
    pool = _against(own, stated) if stated else own
    made += [_arm(pool, arm, how) for arm in enough]
    made += [_difference(pool, a, b, how) for a, b in differences(enough, metric.kind)]
    return [*made, _floor(own, how)]


def moments(metric: SetMetric, table: Table, arm: str) -> tuple[Gaussian, int]:
    """Return the mean and covariance of an arm's videos, and the number of vectors behind them.

    Raises:
        MetricError: fewer than two videos.
    """
    seen = [
        seen
        for video, seen in zip(table.videos, table.seen, strict=True)
        if video.arm == arm and not isinstance(seen, str)
    ]
    if len(seen) < 2:
        raise MetricError(f"statistics of {metric.name}: a covariance needs two videos, {arm} has {len(seen)}")
    everything = np.arange(len(seen))
    found = metric.score(seen, everything).moments
    assert found is not None, f"{metric.name} compares mean and covariance alone"
    return found.of(everything), found.count(everything)


def _against(pool: _Pool, stated: Stated) -> _Pool:
    """The same with a statistics file in place of the real videos."""
    assert pool.made.moments is not None, f"{pool.metric.name} compares mean and covariance alone"
    return replace(
        pool,
        made=pool.made.moments.against(stated.gaussian),
        places=pool.places | {REAL: np.empty(0, np.int64)},
        note=f"against {stated}: what is resampled are the generated videos alone",
    )


def _lacking(metric: SetMetric, statistics: Statistics, real: int) -> str:
    """Say why there is no distance."""
    if real or not statistics.real:
        return "a set needs two videos, and two real ones to compare with"
    if metric.name in statistics.real:
        return "a set needs two videos"
    if metric.moments:
        return f"no real videos; give --reference, or --statistics {metric.name}=FILE"
    return "needs the real videos themselves, not their mean and covariance; give --reference"


def _arm(pool: _Pool, arm: str, how: Resampling) -> Estimate:
    return _measured(pool, arm, [pool.places[arm]], how)


def _difference(pool: _Pool, a: str, b: str, how: Resampling) -> Estimate:
    """The difference of two arms on the sources that both have, against the same real videos."""
    of_a, of_b = ({pool.sources[i] for i in pool.places[arm]} for arm in (a, b))
    left, right = (
        np.array([i for i in pool.places[arm] if pool.sources[i] in of_a & of_b], np.int64) for arm in (a, b)
    )
    name = f"{a} - {b}"
    if min(len(left), len(right)) < 2:
        return Estimate(name, len(of_a & of_b), reasons=("the two arms share fewer than two clips",))
    note = f"{len(of_a ^ of_b)} left out: generated in one of the two arms only" if of_a ^ of_b else ""
    return _measured(pool, name, [left, right], how, note=note)


def _measured(pool: _Pool, name: str, arms: list[Positions], how: Resampling, *, note: str = "") -> Estimate:
    """One arm against the real videos, or the first of two less the second, with its interval and p-value."""
    signs = (1.0, -1.0)[: len(arms)]
    members = [positions for positions in (*arms, pool.places[REAL]) if len(positions)]
    n = min(len(positions) for positions in members)
    inside = np.unique(np.concatenate(members))

    def statistic(times: Times) -> float:
        every = np.zeros(len(pool.clusters), np.int64)
        every[inside] = times
        return sum(sign * pool.to_real(arm, every) for sign, arm in zip(signs, arms, strict=True))

    try:
        value = statistic(np.ones(len(inside), bool))
    except ValueError as error:  # the metric's way to say that there are too few
        return Estimate(name, n, reasons=(note, pool.note, str(error)))
    pulls = [pool.pulls(arm) for arm in arms]
    known = [sign * pull for sign, pull in zip(signs, pulls, strict=True) if pull is not None]
    pull = sum(known[1:], known[0]) if known else None
    reasons = [note, pool.note, pool.made.caution(n), FIRST_ORDER if known else ""]
    groups = min(len(np.unique(pool.clusters[positions])) for positions in members)
    low = high = p_value = None
    if groups >= pool.metric.least:
        clusters, strata = pool.clusters[inside], _strata(pool.clusters, members, inside)
        try:
            low, high = _interval(value, statistic, None if pull is None else pull[inside], clusters, strata, how)
        except ValueError as error:  # too few videos are left in a resampled set
            reasons.append(f"no interval: {error}")
    else:
        reasons.append(too_few(groups, pool.metric))
    if len(arms) == 2:
        swapped = _swapped(pool, arms[0], arms[1], first_order=bool(known))
        p_value = tests.swap_test(swapped, pool.clusters, permutations=how.resamples, seed=how.seed)
    return Estimate(name, n, value, low, high, p_value, tuple(reasons))


def _interval(
    value: float,
    statistic: Callable[[Times], float],
    pull: Float[np.ndarray, " k"] | None,
    clusters: Positions,
    strata: Positions,
    how: Resampling,
) -> tests.Interval:
    if pull is not None:
        return set_intervals.first_order(value, pull, clusters, level=how.level, strata=strata)
    if how.interval == "bootstrap":
        return set_intervals.bootstrap(
            statistic, clusters, level=how.level, resamples=how.resamples, seed=how.seed, strata=strata
        )
    return set_intervals.jackknife(statistic, clusters, level=how.level, seed=how.seed, strata=strata)


def _swapped(pool: _Pool, left: Positions, right: Positions, *, first_order: bool) -> Callable[[Mask], float]:
    """The difference between the arms after swapping those of some videos.

    In large sets, between the mean pulls in the union of both arms: a swap test is exact for any number that tells
    the arms apart, and this one need not be computed anew for each swap.
    """
    everything = np.ones(len(pool.clusters), bool)
    union = pool.pulls(np.concatenate([left, right])) if first_order else None

    def difference(swap: Mask) -> float:
        one = np.concatenate([left[~swap[left]], right[swap[right]]])
        other = np.concatenate([right[~swap[right]], left[swap[left]]])
        if union is not None:
            return float(union[one].mean() - union[other].mean())
        return pool.to_real(one, everything) - pool.to_real(other, everything)

    return difference


def _strata(clusters: Positions, members: list[Positions], inside: Positions) -> Integer[np.ndarray, " k"]:
    """Clusters that take part in the same of the sets are alike, and so one stratum."""
    kinds = {
        name: sum(2**bit * bool(np.isin(name, clusters[positions])) for bit, positions in enumerate(members))
        for name in np.unique(clusters[inside])
    }
    return np.array([kinds[name] for name in clusters[inside]], np.int64)


def _floor(pool: _Pool, how: Resampling) -> Estimate:
    """Real against real, over random halvings of the real videos by cluster; n is that of a half.

    `low` and `high` are the range in which the halvings fall, at `level`; they are no interval of the mean.
    """
    rng = np.random.default_rng(how.seed)
    real = pool.places[REAL]
    names = np.unique(pool.clusters[real])
    half = len(names) // 2
    if half < 2:
        return Estimate(REAL, len(real), reasons=("the noise floor halves the real clips and needs four",))
    values = []
    halvings = HALVINGS if pool.made.pulls(real, real) is None else FEWER_HALVINGS
    for _ in range(halvings):
        mixed = rng.permutation(names)
        parts = (mixed[:half], mixed[half : 2 * half])
        one, other = (real[np.isin(pool.clusters[real], part)] for part in parts)
        try:
            values.append(pool.made.distance(one, other))
        except ValueError as error:  # the metric's way to say that there are too few
            return Estimate(REAL, len(real) // 2, reasons=(f"no noise floor from halves: {error}",))
    low, high = np.quantile(values, [(1 - how.level) / 2, (1 + how.level) / 2])
    reason = (
        f"noise floor: mean and range of {halvings} random halvings of the real clips, {half} against {half}; "
        "a distance that is biased at small n would be lower at the n of the arms, and arms made from the first frames "
        "of the same real clips can lie below it"
    )
    return Estimate(REAL, len(real) // 2, float(np.mean(values)), float(low), float(high), reasons=(reason,))
