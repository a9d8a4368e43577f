"""What both kinds of estimates share: how they are resampled, what they are made from, and the record they become."""

from collections.abc import Sequence
from dataclasses import dataclass

from cinetune.evaluate.features import Seen, Video
from cinetune.metrics._contract import ItemMetric, SetMetric
from cinetune.records import Result

REAL = "real"
"""The arm of the true videos."""
DIFFERENCES = (("tuned", "base"), ("tuned", "static"))
"""Arms that are compared; the second two only where the metric knows the true continuation."""


@dataclass(frozen=True)
class Resampling:
    """How intervals and tests are made."""

    level: float
    """Coverage, 0..1."""
    resamples: int
    """Bootstrap resamples and permutations."""
    seed: int


@dataclass(frozen=True)
class Table:
    """The videos of an evaluation, and what one look saw of each."""

    videos: Sequence[Video]
    seen: Sequence[Seen]

    @property
    def arms(self) -> list[str]:
        """The generated arms, in the order in which they appear."""
        return [arm for arm in dict.fromkeys(video.arm for video in self.videos) if arm != REAL]

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


def to_result(metric: ItemMetric | SetMetric, estimate: Estimate, how: Resampling, backbone: str) -> Result:
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


def too_few(clusters: int, metric: ItemMetric | SetMetric) -> str:
    """Say why there is no interval, and what would do."""
    return f"no interval from {clusters} independent clips; {metric.least} would do"
