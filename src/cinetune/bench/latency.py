"""What rounds of times say: ratios with intervals, and latency(r) = base (1 + c0 + c1 r).

Every round gives one ratio of each cell to its base, timed minutes before or after at most. Ratios are averaged as
logarithms, so that "twice" and "half" cancel; the bootstrap draws whole rounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cinetune.errors import RecipeError
from cinetune.ops.statistics import bootstrap_mean

LEVEL = 0.95
RESAMPLES = 2000
LEAST = 8
"""Rounds, or windows, below which there is no interval: the bootstrap of fewer is too narrow."""


class Estimate(NamedTuple):
    """A mean with its interval at LEVEL."""

    value: float
    low: float | None
    high: float | None
    """None with fewer than LEAST."""

    def holds(self, value: float) -> bool | None:
        """Return whether the interval contains `value`; None where there is no interval."""
        return None if self.low is None or self.high is None else self.low <= value <= self.high


def mean(values: Float[np.ndarray, " n"], *, seed: int) -> Estimate:
    """Return the mean of one number a round."""
    if len(values) < LEAST:
        return Estimate(float(values.mean()), None, None)
    low, high = bootstrap_mean(values, level=LEVEL, resamples=RESAMPLES, seed=seed)
    return Estimate(float(values.mean()), low, high)


def ratio(times: Float[np.ndarray, " n"], reference: Float[np.ndarray, " n"], *, seed: int) -> Estimate:
    """Return how many times as long as the reference, both by round: the geometric mean of the paired ratios."""
    value, low, high = mean(np.log(times / reference), seed=seed)
    return Estimate(float(np.exp(value)), *(None if end is None else float(np.exp(end)) for end in (low, high)))


@dataclass(frozen=True)
class Latency:
    """latency(r) / base = 1 + c0 + c1 r, between the ranks that were measured."""

    c0: Estimate
    """What any adapter costs, as a share of the base."""
    c1: Estimate
    """What each rank adds to that."""
    least: int
    most: int
    """Ranks that were measured."""
    worst: float
    """Largest distance between line and measured ratio at a measured rank, as a share of the base."""

    def at(self, rank: int) -> float:
        """Return latency over base at a rank.

        Raises:
            RecipeError: a rank outside those measured.
        """
        if not self.least <= rank <= self.most:
            raise RecipeError(f"rank {rank}: ranks {self.least} to {self.most} were measured, and the model is not "
                              "drawn out beyond them; measure this one (--ranks)")  # fmt: skip
        return 1 + self.c0.value + self.c1.value * rank


def fit(ranks: Sequence[int], ratios: Float[np.ndarray, "rounds ranks"], *, seed: int) -> Latency:
    """Return the line through ratios by least squares, with intervals by bootstrap over the rounds.

    Least squares is linear in the ratios, and all rounds have the same ranks: the coefficients of the mean are the mean
    of the coefficients of each round, which the bootstrap draws.

    Args:
        ranks: above 0, two at least.
        ratios: latency over base, of each round and rank.

    Raises:
        RecipeError: fewer than two ranks.
    """
    if len(set(ranks)) < 2 or min(ranks) < 1:
        raise RecipeError(f"ranks {', '.join(map(str, ranks))}: a line needs two ranks above 0")
    design = np.stack([np.ones(len(ranks)), np.asarray(ranks, np.float64)], axis=1)
    each = (ratios - 1) @ np.linalg.pinv(design).T
    line = design @ each.mean(axis=0)
    return Latency(
        c0=mean(each[:, 0], seed=seed), c1=mean(each[:, 1], seed=seed), least=min(ranks), most=max(ranks),
        worst=float(np.abs(ratios.mean(axis=0) - 1 - line).max()),
    )  # fmt: skip
