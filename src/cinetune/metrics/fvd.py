"""Frechet video distance: how far the videos of an arm are, as a set, from the real ones.

Protocol "google", that of the paper: the frames stretched to 224 x 224, covariances over n - 1. Its relatives differ in
preprocessing or in n alone: `fvd_stylegan_v`, `fvd_videogpt`.
"""

from collections.abc import Sequence

from cinetune.metrics import _frechet, _video_set
from cinetune.metrics._contract import Card, Comparison, Features, Positions, SetMetric


def score(videos: Sequence[Features], clusters: Positions) -> Comparison:
    """Compare subsets by the Frechet distance of the Gaussians fitted to their vectors."""
    return _frechet.compare([features["video"][None] for features in videos])


METRIC = SetMetric(
    name="fvd",
    version="1",
    unit="squared feature distance",
    better="lower",
    least=8,
    source="Unterthiner et al. 2018, eq. 1",
    card=Card(
        measures="How far the videos are from the real ones as a set: two Gaussians compared in a video network.",
        caveats="Biased upwards with few videos: compare at the same n only. Looks at content more than at motion.",
        blind=("shuffle", "freeze", "drop"),
    ),
    look=_video_set.LOOK,
    score=score,
    moments=True,
)
