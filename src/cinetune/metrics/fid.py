"""Frechet inception distance on frames: all frames of an arm against all real frames."""

from collections.abc import Sequence

from cinetune.metrics import _frame_set, _frechet
from cinetune.metrics._contract import Card, Comparison, Features, Positions, SetMetric


def score(videos: Sequence[Features], clusters: Positions) -> Comparison:
    """Compare subsets by the Frechet distance of the Gaussians fitted to all frames of their videos."""
    return _frechet.compare([features["frames"] for features in videos])


METRIC = SetMetric(
    name="fid",
    version="1",
    unit="squared feature distance",
    better="lower",
    least=8,
    source="Heusel et al. 2017 (GANs Trained by a Two Time-Scale Update Rule), eq. 6",
    card=Card(
        measures="How far the frames are from real frames as a set: two Gaussians compared in an image network.",
        caveats="Strongly biased upwards at the number of videos that are usual here: prefer KID, and compare at the "
        "same n only. Order and motion play no part.",
        blind=("noise", "shuffle", "freeze", "drop"),
    ),
    look=_frame_set.LOOK,
    score=score,
    moments=True,
)
