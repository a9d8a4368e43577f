"""The look that metrics of what frames show share."""

import numpy as np

from cinetune.metrics._contract import Features, Item, Look
from cinetune.metrics.backbones._contract import FrameEye

NOTHING = "the network has no features for a frame: their length is 0"


def look(item: Item, eye: FrameEye) -> Features:
    """Return `frames`: unit vectors of all frames, frames x d; one that has no direction stays 0."""
    vectors = eye.frames(item.frames)
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return {"frames": np.asarray(vectors / np.where(lengths > 0, lengths, 1))}


def empty(features: Features) -> bool:
    """Return whether a frame has no direction, so that it has no cosine either."""
    return not features["frames"].any(axis=-1).all()


LOOK = Look("dino", "1", "frames_dino", look)
