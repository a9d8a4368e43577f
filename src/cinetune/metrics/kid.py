"""Kernel inception distance on frames: how far the frames of an arm are, as a set, from the real ones.

Unbiased at any n, so it can be below zero where there is no difference. The frames of one video are one cluster.
"""

from collections.abc import Sequence

from cinetune.metrics import _frame_set
from cinetune.metrics._contract import Card, Comparison, Features, Positions, SetMetric
from cinetune.ops import distances


def score(videos: Sequence[Features], clusters: Positions) -> Comparison:
    """Compare subsets by the unbiased MMD with the cubic kernel over pairs of frames from different clusters."""
    kernel = distances.video_kernel([features["frames"] for features in videos])
    return Comparison(lambda left, right: distances.mmd(kernel, left, right, clusters), lambda n: "")


METRIC = SetMetric(
    name="kid",
    version="1",
    unit="squared MMD",
    better="lower",
    least=8,
    source="Binkowski et al. 2018 (Demystifying MMD GANs), sec. 3",
    card=Card(
        measures="How far the frames of an arm are from real frames as a set, without bias from the number of videos.",
        caveats="Knows single frames only: order and motion play no part.",
        blind=("noise", "shuffle", "freeze", "drop", "reencode"),
    ),
    look=_frame_set.LOOK,
    score=score,
)
