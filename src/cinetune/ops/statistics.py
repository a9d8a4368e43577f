"""Intervals and tests for few clips, by resampling. Every random draw comes from `seed`.

The unit is the cluster: clips of one scene (or several samples of one clip) are not independent, so they are
drawn, left out and swapped together.

A mean over videos (LPIPS, or its paired difference) gets the BCa bootstrap (`bootstrap_mean`): it follows the skew that
perceptual distances have, and at n = 24 covers close to its level. Numbers of a whole set are in `ops.set_intervals`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy.stats import norm

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
    _, index = np.unique(np.arange(len(differences)) if clusters is None else clusters, return_inverse=True)
    sums = np.bincount(index, weights=differences.astype(np.float64))
    swaps = np.random.default_rng(seed).random((permutations, len(sums))) < 0.5  # the draws of `swap_test`
    means = np.abs(np.where(swaps, -sums, sums).sum(axis=1))
    threshold = abs(sums.sum()) * (1 - 1e-12)
    return float((1 + (means >= threshold).sum()) / (1 + permutations))


def holm(p_values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return Holm's corrected p-values: rejecting those <= a gives at most a share a of families a false rejection.

    Nothing is assumed about how the tests depend on each other: metrics of the same videos may be corrected together.

    Source: Holm 1979 (A Simple Sequentially Rejective Multiple Test Procedure), sec. 3.
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(steps, 1)
    return corrected
