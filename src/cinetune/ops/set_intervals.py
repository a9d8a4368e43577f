"""Intervals for a number of whole sets of videos (FVD, KID, coverage, or a paired difference of one).

The unit is the cluster: clips of one scene are left out, drawn and weighted together. Three ways:

* `jackknife`, the default: leave every cluster out in turn. Nothing is assumed but that order does not matter. The
  variance it gives is, in expectation, never below that of the statistic at one cluster fewer (Efron and Stein 1981),
  so it errs towards wide intervals, also for the Frechet distance with fewer videos than dimensions.
* `first_order`: the same from what every video adds to the number, to first order. One decomposition instead of one for
  each cluster; used where there are many vectors.
* `bootstrap`: draw clusters with replacement. Copies of a video make a set look farther from another than it is, and a
  set with fewer distinct videos has a larger Frechet distance, so a plain percentile interval misses. Here the draws
  are moved to have their mean at the estimate.

benchmarks/coverage.py measures how often each holds the truth; docs/log.md has the numbers and the choice.
For a biased statistic (a Frechet distance) the truth is its expected value at this n, not its limit for many clips.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy.stats import t

from cinetune.ops.statistics import Clusters, Interval

Strata = Integer[np.ndarray, " n"]
"""Independent samples, such as generated videos and unpaired real ones. All items of a cluster lie in one."""


def jackknife(
    statistic: Callable[[Bool[np.ndarray, " n"]], float],
    clusters: Clusters,
    *,
    level: float,
    seed: int,
    strata: Strata | None = None,
    most: int = 100,
) -> Interval:
    """Return the jackknife interval of a symmetric statistic: estimate -+ t x standard error.

    Args:
        statistic: maps "which items are kept" to the number.
        clusters: items of one cluster are left out together.
        level: coverage, 0..1.
        seed: of the grouping, where there are more than `most` clusters.
        strata: each contributes its own variance. None makes one stratum.
        most: with more clusters in a stratum than this they are left out in this many groups of equal size
            (to one), which costs degrees of freedom and saves time.

    Source: Quenouille 1956; Tukey 1958; Arvesen 1969 (for U-statistics); Efron and Stein 1981.

    Raises:
        ValueError: no stratum has two clusters.
    """
    rng = np.random.default_rng(seed)
    variance, freedom = 0.0, 0
    for inside in _layers(clusters, strata):
        groups = min(len(inside), most)
        group_of = rng.permutation(len(inside)) % groups
        values = np.array([statistic(~np.isin(clusters, inside[group_of == g])) for g in range(groups)])
        variance += (groups - 1) / groups * ((values - values.mean()) ** 2).sum()
        freedom += groups - 1
    return _students(statistic(np.ones(len(clusters), bool)), variance, freedom, level)


def first_order(
    estimate: float, pulls: Float[np.ndarray, " n"], clusters: Clusters, *, level: float, strata: Strata | None = None
) -> Interval:
    """Return the infinitesimal jackknife interval: estimate -+ t x standard error.

    Args:
        estimate: the number.
        pulls: how much the estimate changes for each relative change of an item's weight.
        clusters: items of one cluster are weighted together.
        level: coverage, 0..1.
        strata: each contributes its own variance. None makes one stratum.

    Source: Jaeckel 1972; Efron 1982, ch. 6. The factor k / (k - 1) for k clusters is that of the usual variance.

    Raises:
        ValueError: no stratum has two clusters.
    """
    names, index = np.unique(clusters, return_inverse=True)
    sums = np.bincount(index, weights=pulls)
    variance, freedom = 0.0, 0
    for inside in _layers(clusters, strata):
        own = sums[np.isin(names, inside)]
        variance += len(own) / (len(own) - 1) * ((own - own.mean()) ** 2).sum()
        freedom += len(own) - 1
    return _students(estimate, variance, freedom, level)


def bootstrap(
    statistic: Callable[[Integer[np.ndarray, " n"]], float],
    clusters: Clusters,
    *,
    level: float,
    resamples: int,
    seed: int,
    strata: Strata | None = None,
) -> Interval:
    """Return the percentile interval of resampled clusters, moved so that the draws have their mean at the estimate.

    Args:
        statistic: maps "how often each item counts" to the number; all once is the estimate.
        clusters: items of one cluster are drawn together.
        level: coverage, 0..1.
        resamples: draws, each of as many clusters of every stratum as there are.
        seed: of the draws.
        strata: drawn each for itself. None makes one stratum.

    Source: Efron 1979; the shift is the bootstrap's own estimate of bias (Efron and Tibshirani 1993, ch. 10), taken
    off the draws and not off the estimate.

    Raises:
        ValueError: no stratum has two clusters, or the statistic cannot be computed for a draw.
    """
    rng = np.random.default_rng(seed)
    names, index = np.unique(clusters, return_inverse=True)
    layers = [np.flatnonzero(np.isin(names, inside)) for inside in _layers(clusters, strata)]
    if not layers:
        raise ValueError("an interval needs two clusters")
    draws = []
    for _ in range(resamples):
        times = np.ones(len(names), np.int64)
        for layer in layers:
            times[layer] = rng.multinomial(len(layer), np.full(len(layer), 1 / len(layer)))
        draws.append(statistic(times[index]))
    shift = statistic(np.ones(len(clusters), np.int64)) - np.mean(draws)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]) + shift
    return Interval(float(low), float(high))


def _layers(clusters: Clusters, strata: Strata | None) -> list[Integer[np.ndarray, " _"]]:
    """The clusters of each stratum that has two."""
    if strata is None:
        strata = np.zeros(len(clusters), np.int64)
    layers = [np.unique(clusters[strata == layer]) for layer in np.unique(strata)]
    return [layer for layer in layers if len(layer) >= 2]


def _students(estimate: float, variance: float, freedom: int, level: float) -> Interval:
    if not freedom:
        raise ValueError("an interval needs two clusters")
    half = float(t.ppf((1 + level) / 2, freedom)) * float(np.sqrt(variance))
    return Interval(estimate - half, estimate + half)
