"""Intervals and tests for few clips, by resampling. Every random draw comes from `seed`.

The unit is the cluster: clips of one scene (or several samples of one clip) are not independent, so they are
drawn, left out and swapped together.

Which interval for what, and why:

* A mean over videos (LPIPS, or its paired difference): the BCa bootstrap (`bootstrap_mean`). It follows the skew
  that perceptual distances have, and at n = 24 covers close to its level.
* A number of a whole set (FVD, KID, or its paired difference): the delete-one jackknife with Student's t
  (`jackknife`). Drawing with replacement puts copies of one video into a set. Copies look alike, so both the
  Frechet distance and the MMD of a resampled set are systematically larger than the estimate, and a percentile
  interval misses: tests/ops/test_statistics.py shows it covering the truth in far fewer than 95 of 100
  simulated studies, and the jackknife in about 95. Leaving clips out makes no copies. The variance it gives
  is, in expectation, never below that of the statistic at one clip fewer, for any symmetric statistic of
  independent clips (Efron and Stein 1981), so it errs towards wide intervals, also for the Frechet distance with
  fewer videos than dimensions, where no smoothness can be claimed.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy.stats import norm, t

Clusters = Integer[np.ndarray, " n"]
"""What each item belongs to."""


class Interval(NamedTuple):
    """The ends of a confidence interval."""

    low: float
    high: float


def bootstrap_mean(
    values: Float[np.ndarray, " n"],
    *,
    level: float,
    resamples: int,
    seed: int,
    clusters: Clusters | None = None,
) -> Interval:
    """Return the BCa (bias-corrected and accelerated) bootstrap interval of the mean.

    Args:
        values: one number for each item.
        level: coverage, 0..1.
        resamples: draws of as many clusters as there are, with replacement.
        seed: of the draws.
        clusters: items of one cluster are drawn together; None makes each item its own.

    Source: Efron 1987 (Better Bootstrap Confidence Intervals), sec. 2 and 6.

    Raises:
        ValueError: fewer than two clusters.
    """
    _, index = np.unique(np.arange(len(values)) if clusters is None else clusters, return_inverse=True)
    sums = np.bincount(index, weights=values.astype(np.float64))
    counts = np.bincount(index).astype(np.float64)
    groups = len(sums)
    if groups < 2:
        raise ValueError(f"an interval needs two clusters, got {groups}")
    estimate = sums.sum() / counts.sum()
    if np.ptp(sums / counts) == 0:
        return Interval(float(estimate), float(estimate))

    rng = np.random.default_rng(seed)
    draws = rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples).astype(np.float64)
    means = draws @ sums / (draws @ counts)

    # Draws that equal the estimate count half; with few clusters there are many, equal up to rounding.
    tied = np.abs(means - estimate) <= 1e-12 * np.ptp(means)
    below = ((means < estimate) & ~tied).mean() + tied.mean() / 2
    bias = norm.ppf(np.clip(below, 0.5 / resamples, 1 - 0.5 / resamples))
    left_out = (sums.sum() - sums) / (counts.sum() - counts)
    pull = left_out.mean() - left_out
    acceleration = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5)
    z = norm.ppf([(1 - level) / 2, (1 + level) / 2])
    shares = norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
    low, high = np.quantile(means, shares)
    return Interval(float(low), float(high))


def jackknife(
    statistic: Callable[[Bool[np.ndarray, " n"]], float],
    clusters: Clusters,
    *,
    level: float,
    seed: int,
    strata: Integer[np.ndarray, " n"] | None = None,
    most: int = 100,
) -> Interval:
    """Return the jackknife interval of a symmetric statistic: estimate -+ t x standard error.

    For a biased statistic (a Frechet distance) the interval is about its expected value at this n, not about
    its limit for many clips.

    Args:
        statistic: maps "which items are kept" to the number.
        clusters: items of one cluster are left out together.
        level: coverage, 0..1.
        seed: of the grouping, where there are more than `most` clusters.
        strata: independent samples, such as generated videos and unpaired real ones; each contributes its own
            variance. None makes one stratum. All items of a cluster lie in one stratum.
        most: with more clusters in a stratum than this they are left out in this many groups of equal size
            (to one), which costs degrees of freedom and saves time.

    Source: Quenouille 1956; Tukey 1958; Arvesen 1969 (for U-statistics); Efron and Stein 1981.

    Raises:
        ValueError: no stratum has two clusters.
    """
    rng = np.random.default_rng(seed)
    layers = np.zeros(len(clusters), int) if strata is None else strata
    variance, freedom = 0.0, 0
    for layer in np.unique(layers):
        inside = np.unique(clusters[layers == layer])
        if len(inside) < 2:
            continue
        groups = min(len(inside), most)
        group_of = rng.permutation(len(inside)) % groups
        values = np.array([statistic(~np.isin(clusters, inside[group_of == g])) for g in range(groups)])
        variance += (groups - 1) / groups * ((values - values.mean()) ** 2).sum()
        freedom += groups - 1
    if not freedom:
        raise ValueError("an interval needs two clusters")
    estimate = statistic(np.ones(len(clusters), bool))
    half = float(t.ppf((1 + level) / 2, freedom)) * float(np.sqrt(variance))
    return Interval(estimate - half, estimate + half)


def swap_test(
    statistic: Callable[[Bool[np.ndarray, " n"]], float], clusters: Clusters, *, permutations: int, seed: int
) -> float:
    """Return the two-sided p-value of a paired permutation test: swap the two arms of random clusters.

    Exact under the hypothesis that within each clip the two arms are exchangeable. For the mean of paired
    differences, swapping is flipping signs. The p-value is never 0: the observed order counts as one of the draws.

    Args:
        statistic: maps "which items have their arms swapped" to the difference between the arms.
        clusters: items of one cluster are swapped together.
        permutations: random swaps.
        seed: of the swaps.

    Source: Fisher 1935; Phipson and Smyth 2010 for the count of one.
    """
    rng = np.random.default_rng(seed)
    names, index = np.unique(clusters, return_inverse=True)
    observed = abs(statistic(np.zeros(len(clusters), bool)))
    # A swap of everything gives exactly -observed, up to rounding, and must count as equally extreme.
    threshold = observed * (1 - 1e-12)
    swaps = rng.random((permutations, len(names))) < 0.5
    extreme = sum(abs(statistic(swap[index])) >= threshold for swap in swaps)
    return float((1 + extreme) / (1 + permutations))


def mean_swap_test(
    differences: Float[np.ndarray, " n"], *, permutations: int, seed: int, clusters: Clusters | None = None
) -> float:
    """Return the two-sided p-value that paired differences have mean zero, by flipping signs (see `swap_test`)."""
    own = np.arange(len(differences)) if clusters is None else clusters
    return swap_test(
        lambda swapped: float(np.where(swapped, -differences, differences).mean()),
        own,
        permutations=permutations,
        seed=seed,
    )
