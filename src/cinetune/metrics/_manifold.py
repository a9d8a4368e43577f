"""What precision, recall, density and coverage share: k = 5 neighbours of one vector a video."""

from collections.abc import Callable, Sequence

from cinetune.metrics import _video_set
from cinetune.metrics._contract import Comparison, Features, Positions
from cinetune.ops.neighbours import Neighbours, neighbours

K = 5
"""Naeem et al. 2020, sec. 3.3; Kynkaanniemi et al. 2019 take 3."""
FEW = 100
"""Videos below which a share of videos, or of balls that reach to a fifth neighbour, is coarse."""


def comparing(
    share: Callable[[Neighbours, Positions, Positions], float],
) -> Callable[[Sequence[Features], Positions], Comparison]:
    """Return the `score` of a metric.

    Args:
        share: (distances, generated, real) -> number.
    """

    def score(videos: Sequence[Features], clusters: Positions) -> Comparison:
        near = neighbours(_video_set.vectors(videos), clusters, k=K)
        return Comparison(lambda left, right: share(near, left, right), caution)

    return score


def caution(n: int) -> str:
    """Say that balls are wide where there are few videos."""
    if n >= FEW:
        return ""
    return f"coarse: with {n} videos the ball to the {K}th neighbour is wide; compare only with numbers at the same n"
