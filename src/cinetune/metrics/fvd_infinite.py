"""Frechet video distance at infinite n: what FVD would be without its bias."""

from collections.abc import Sequence

from cinetune.metrics import _frechet, _video_set
from cinetune.metrics._contract import Card, Comparison, Features, Positions, Pulls, SetMetric
from cinetune.ops import frechet
from cinetune.ops.extrapolation import cuts

SEED = 0
"""Of the cuts into parts. They belong to the metric, not to its interval."""


def score(videos: Sequence[Features], clusters: Positions) -> Comparison:
    """Compare subsets by the end of the line of FVD against 1/n over parts of them."""
    vectors = _video_set.vectors(videos)
    parts = cuts(vectors, clusters, least=vectors.shape[1] + 1, seed=SEED)
    whole = _frechet.compare([features["video"][None] for features in videos])

    def pulls(left: Positions, right: Positions) -> Pulls | None:
        # The parts of a set weigh its videos alike, so to first order the line's end moves as FVD itself does.
        return frechet.pulls(vectors[left], vectors[right])

    return Comparison(lambda left, right: parts.limit(whole.distance, left, right), lambda n: "", pulls)


METRIC = SetMetric(
    name="fvd_infinite",
    version="1",
    unit="squared feature distance",
    better="lower",
    least=8,
    source="Chong and Forsyth 2020 (Effectively Unbiased FID and Inception Score), sec. 3",
    card=Card(
        measures="FVD followed along 1/n to sets without end, so that numbers at different n can be compared.",
        caveats="Needs more than twice as many videos as the network has feature dimensions. The bias that is left is "
        "of order 1/n^2 and can make it a little negative.",
        blind=("noise", "shuffle", "freeze", "drop", "reencode"),
    ),
    look=_video_set.LOOK,
    score=score,
)
