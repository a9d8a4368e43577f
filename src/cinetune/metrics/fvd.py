"""Frechet video distance: how far the videos of an arm are, as a set, from the real ones."""

from collections.abc import Sequence

import numpy as np

from cinetune.metrics._contract import Card, Comparison, Features, Item, Look, Positions, SetMetric
from cinetune.metrics.backbones._contract import VideoEye
from cinetune.ops import distances


def look(item: Item, eye: VideoEye) -> Features:
    """Return `video`: one vector of the whole video, d."""
    return {"video": eye.video(item.frames)}


def score(videos: Sequence[Features], clusters: Positions) -> Comparison:
    """Compare subsets by the Frechet distance of the Gaussians fitted to their vectors."""
    vectors = np.stack([features["video"] for features in videos]).astype(np.float64)
    enough = vectors.shape[1] + 1

    def caution(n: int) -> str:
        if n >= enough:
            return ""
        return (
            f"biased upwards: {n} videos cannot fill the covariance of {enough - 1} feature dimensions "
            f"({enough} would); compare only with numbers at the same n"
        )

    return Comparison(lambda left, right: distances.frechet(vectors[left], vectors[right]), caution)


METRIC = SetMetric(
    name="fvd",
    version="1",
    unit="squared feature distance",
    better="lower",
    least=8,
    source="Unterthiner et al. 2018, eq. 1",
    card=Card(
        measures="How far the videos are from the real ones as a set: the distance of two Gaussians in a video network.",
        caveats="Biased upwards with few videos: compare at the same n only. Looks at content more than at motion.",
        blind=("shuffle",),
    ),
    look=Look("fvd", "1", "video", look),
    score=score,
)
