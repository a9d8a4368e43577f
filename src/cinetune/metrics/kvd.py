"""Kernel video distance: as FVD, without its bias and without taking features for Gaussian."""

from collections.abc import Sequence

from cinetune.metrics import _video_set
from cinetune.metrics._contract import Card, Comparison, Features, Positions, SetMetric
from cinetune.ops import distances


def score(videos: Sequence[Features], clusters: Positions) -> Comparison:
    """Compare subsets by the unbiased MMD with the cubic kernel of KID over pairs from different clusters."""
    vectors = _video_set.vectors(videos)
    kernel = distances.polynomial_kernel(vectors, vectors)
    return Comparison(lambda left, right: distances.mmd(kernel, left, right, clusters), lambda n: "")


METRIC = SetMetric(
    name="kvd",
    version="1",
    unit="squared MMD",
    better="lower",
    least=8,
    source="Unterthiner et al. 2018, sec. 3; the kernel divides by d, as in Binkowski et al. 2018, sec. 3",
    card=Card(
        measures="How far the videos are from the real ones as a set in a video network, whatever their number.",
        caveats="Can be below zero where there is no difference. Looks at content more than at motion, as FVD does.",
        blind=("shuffle", "freeze", "drop", "colour"),
    ),
    look=_video_set.LOOK,
    score=score,
)
