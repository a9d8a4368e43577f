"""Frechet video distance by the protocol of VideoGPT: shorter side to 224, centre crop, covariances over n - 1."""

from collections.abc import Sequence

from cinetune.metrics import _frechet, _video_set
from cinetune.metrics._contract import Card, Comparison, Features, Look, Positions, SetMetric


def score(videos: Sequence[Features], clusters: Positions) -> Comparison:
    """Compare subsets by the Frechet distance of the Gaussians fitted to their vectors."""
    return _frechet.compare([features["video"][None] for features in videos])


METRIC = SetMetric(
    name="fvd_videogpt",
    version="1",
    unit="squared feature distance",
    better="lower",
    least=8,
    source="wilson1yan/VideoGPT, videogpt/fvd/fvd.py",
    card=Card(
        measures="FVD by the protocol of VideoGPT, for comparison with numbers of papers that use it.",
        caveats="Biased as FVD is. The crop hides what happens at the sides of a wide frame. The published tool takes "
        "square roots in 32 bits, which adds up to some percent; this does not.",
        blind=("shuffle", "freeze", "drop"),
    ),
    look=Look("fvd_videogpt", "1", "video_videogpt", _video_set.look, many=_video_set.look_many),
    score=score,
    moments=True,
)
