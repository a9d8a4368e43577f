"""What both kinds of estimates share: how they are resampled, what they are made from, and the record they become."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cinetune.evaluate.features import Seen, Video
from cinetune.metrics._contract import CorpusMetric, ItemMetric, SetMetric
from cinetune.ops import statistics
from cinetune.records import Result

REAL = "real"
"""The arm of the true videos."""
TRAINING = "training"
"""The arm of what the model learnt from: compared with, never measured."""
STATIC = "static"
"""The arm of first frames held still: a baseline for metrics that know the true continuation."""
AnyMetric = ItemMetric | CorpusMetric | SetMetric


@dataclass(frozen=True)
class Resampling:
    """How intervals and tests are made."""

    level: float
    """Coverage, 0..1."""
    resamples: int
    """Bootstrap resamples and permutations."""
    seed: int
    interval: str = "jackknife"
    """Of set metrics: "jackknife" or "bootstrap" (see `ops.set_intervals`)."""


@dataclass(frozen=True)
class Table:
    """The videos of an evaluation, and what one look saw of each."""

    videos: Sequence[Video]
    seen: Sequence[Seen]

    @property
    def arms(self) -> list[str]:
        """The generated arms, in the order in which they appear."""
        return [arm for arm in dict.fromkeys(video.arm for video in self.videos) if arm not in (REAL, TRAINING)]

    def numbered(self) -> dict[str, int]:
        """Return a number for each cluster."""
        return {name: i for i, name in enumerate(dict.fromkeys(video.cluster for video in self.videos))}


@dataclass(frozen=True)
class Estimate:
    """An estimate before it is a record."""

    arm: str
    n: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    reasons: tuple[str, ...] = ()


def differences(arms: Sequence[str], kind: str) -> list[tuple[str, str]]:
    """Return which arms are compared, (a, b) for a - b.

    The tuned model with the base, any other arms each with each in their order, and, where the metric knows the true
    continuation, each with the first frame held still. The base is not: what tuning is worth is asked of the tuned.

    Args:
        arms: generated arms in the order in which they appear.
        kind: of the metric; "pair" metrics know the true continuation.
    """
    moving = [arm for arm in arms if arm != STATIC]
    pairs = [(a, b) for i, a in enumerate(moving) for b in moving[i + 1 :]]
    pairs = [("tuned", "base") if {*pair} == {"tuned", "base"} else pair for pair in pairs]
    if kind == "pair" and STATIC in arms:
        pairs += [(arm, STATIC) for arm in moving if arm != "base"]
    return pairs


def to_result(metric: AnyMetric, estimate: Estimate, how: Resampling, backbone: str) -> Result:
    """Return the record of an estimate."""
    return Result(
        metric=metric.name,
        version=metric.version,
        arm=estimate.arm,
        kind=metric.kind,
        better=metric.better,
        estimate=estimate.value,
        low=estimate.low,
        high=estimate.high,
        level=how.level,
        n=estimate.n,
        unit=metric.unit,
        backbone=backbone,
        seed=how.seed,
        p_value=estimate.p_value,
        reason="; ".join(reason for reason in estimate.reasons if reason),
    )


def corrected(results: Sequence[Result]) -> list[Result]:
    """Return the results of one evaluation with `p_holm`: Holm's correction over all that have a p-value.

    Every difference of every metric is one of the family, so the chance that any of them is taken for real where
    nothing differs stays at the level.
    """
    tested = [i for i, result in enumerate(results) if result.p_value is not None]
    p_values = np.array([results[i].p_value for i in tested], np.float64)
    found = dict(zip(tested, statistics.holm(p_values).tolist(), strict=True))
    return [dataclasses.replace(result, p_holm=found.get(i)) for i, result in enumerate(results)]


def too_few(clusters: int, metric: AnyMetric) -> str:
    """Say why there is no interval, and what would do."""
    return f"no interval from {clusters} independent clips; {metric.least} would do"
