"""Metrics of whole sets: distance of each arm to the real videos, their difference, and the noise floor."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Integer

from cinetune.evaluate.estimates import DIFFERENCES, REAL, Estimate, Resampling, Table, too_few
from cinetune.metrics._contract import Comparison, SetMetric
from cinetune.ops import statistics

HALVINGS = 50
Positions = Integer[np.ndarray, " _"]
Mask = Bool[np.ndarray, " _"]


@dataclass(frozen=True)
class _Pool:
    """All videos that take part, ready to be compared in subsets."""

    metric: SetMetric
    made: Comparison
    clusters: Positions
    """Of each video."""
    sources: list[str]
    places: dict[str, Positions]
    """Positions of the videos of each arm."""

    def to_real(self, left: Positions, keep: Mask) -> float:
        """Return the distance of those of `left` that are kept to the real videos that are kept."""
        real = self.places[REAL]
        return self.made.distance(left[keep[left]], real[keep[real]])


def estimates(metric: SetMetric, table: Table, how: Resampling) -> list[Estimate]:
    """Return the distance of each arm, the difference "tuned - base" and the floor "real".

    Intervals are jackknifed over clusters, each left out of the arms and of the real videos at once, so that what
    a clip adds to both sides cancels as it does in the estimate. The p-value swaps the arms of random clips.
    """
    # A video without true continuation has no counterpart among the real ones, so it would compare unlike sets.
    kept = [
        (video, seen)
        for video, seen in zip(table.videos, table.seen, strict=True)
        if not isinstance(seen, str) and (video.arm == REAL or video.matched)
    ]
    number = table.numbered()
    clusters = np.array([number[video.cluster] for video, _ in kept], np.int64)
    places = {
        arm: np.array([i for i, (video, _) in enumerate(kept) if video.arm == arm], np.int64)
        for arm in [*table.arms, REAL]
    }
    sizes = {arm: min(len(positions), len(places[REAL])) for arm, positions in places.items()}
    enough = [arm for arm in table.arms if sizes[arm] >= 2]
    made = [
        Estimate(arm, sizes[arm], reasons=("a set needs two videos, and two real ones to compare with",))
        for arm in table.arms
        if arm not in enough
    ]
    if not enough:
        return made
    comparison = metric.score([seen for _, seen in kept if not isinstance(seen, str)], clusters)
    pool = _Pool(metric, comparison, clusters, [video.source for video, _ in kept], places)
    made += [_arm(pool, arm, how) for arm in enough]
    a, b = DIFFERENCES[0]
    if a in enough and b in enough:
        made.append(_difference(pool, a, b, how))
    return [*made, _floor(pool, how)]


def _arm(pool: _Pool, arm: str, how: Resampling) -> Estimate:
    left = pool.places[arm]
    return _jackknifed(pool, arm, [left], lambda keep: pool.to_real(left, keep), how)


def _difference(pool: _Pool, a: str, b: str, how: Resampling) -> Estimate:
    """The difference of two arms on the sources that both have, against the same real videos."""
    of_a, of_b = ({pool.sources[i] for i in pool.places[arm]} for arm in (a, b))
    left, right = (
        np.array([i for i in pool.places[arm] if pool.sources[i] in of_a & of_b], np.int64) for arm in (a, b)
    )
    name = f"{a} - {b}"
    if min(len(left), len(right)) < 2:
        return Estimate(name, len(of_a & of_b), reasons=("the two arms share fewer than two clips",))
    everything = np.ones(len(pool.clusters), bool)

    def swapped(swap: Mask) -> float:
        one = np.concatenate([left[~swap[left]], right[swap[right]]])
        other = np.concatenate([right[~swap[right]], left[swap[left]]])
        return pool.to_real(one, everything) - pool.to_real(other, everything)

    note = f"{len(of_a ^ of_b)} left out: generated in one of the two arms only" if of_a ^ of_b else ""
    return _jackknifed(
        pool,
        name,
        [left, right],
        lambda keep: pool.to_real(left, keep) - pool.to_real(right, keep),
        how,
        note=note,
        swapped=swapped,
    )


def _jackknifed(
    pool: _Pool,
    name: str,
    arms: list[Positions],
    statistic: Callable[[Mask], float],
    how: Resampling,
    *,
    note: str = "",
    swapped: Callable[[Mask], float] | None = None,
) -> Estimate:
    """An estimate of some arms against the real videos, with its interval and, for a difference, its p-value."""
    members = [*arms, pool.places[REAL]]
    n = min(len(positions) for positions in members)
    reasons = [note, pool.made.caution(n)]
    inside = np.unique(np.concatenate(members))

    def of_inside(keep: Bool[np.ndarray, " k"]) -> float:
        mask = np.zeros(len(pool.clusters), bool)
        mask[inside[keep]] = True
        return statistic(mask)

    try:
        value = of_inside(np.ones(len(inside), bool))
    except ValueError as error:  # the metric's way to say that there are too few
        return Estimate(name, n, reasons=(note, str(error)))
    groups = min(len(np.unique(pool.clusters[positions])) for positions in members)
    low = high = p_value = None
    if groups >= pool.metric.least:
        low, high = statistics.jackknife(
            of_inside,
            pool.clusters[inside],
            level=how.level,
            seed=how.seed,
            strata=_strata(pool.clusters, members, inside),
        )
    else:
        reasons.append(too_few(groups, pool.metric))
    if swapped:
        p_value = statistics.swap_test(swapped, pool.clusters, permutations=how.resamples, seed=how.seed)
    return Estimate(name, n, value, low, high, p_value, tuple(reasons))


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
    for _ in range(HALVINGS):
        mixed = rng.permutation(names)
        parts = (mixed[:half], mixed[half : 2 * half])
        one, other = (real[np.isin(pool.clusters[real], part)] for part in parts)
        values.append(pool.made.distance(one, other))
    low, high = np.quantile(values, [(1 - how.level) / 2, (1 + how.level) / 2])
    reason = (
        f"noise floor: mean and range of {HALVINGS} random halvings of the real clips, {half} against {half}; "
        "a distance that is biased at small n would be lower at the n of the arms, and arms made from the first frames "
        "of the same real clips can lie below it"
    )
    return Estimate(REAL, len(real) // 2, float(np.mean(values)), float(low), float(high), reasons=(reason,))
