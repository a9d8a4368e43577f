"""The looks of metrics that compare sets of videos by one vector a video."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from cinetune.metrics._contract import Features, Item, Look
from cinetune.metrics.backbones._contract import BatchVideoEye, VideoEye


def look(item: Item, eye: VideoEye) -> Features:
    """Return `video`: one vector of the whole video, d."""
    return {"video": eye.video(item.frames)}


def look_many(items: Sequence[Item], eye: BatchVideoEye) -> list[Features]:
    """Return the same of several videos of as many frames each."""
    return [{"video": vector} for vector in eye.videos([item.frames for item in items])]


def vectors(videos: Sequence[Features]) -> Float[np.ndarray, "v d"]:
    """Return the vectors of all videos in float64."""
    return np.stack([features["video"] for features in videos]).astype(np.float64)


LOOK = Look("fvd", "1", "video", look, many=look_many)
