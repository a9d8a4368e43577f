"""The look that both CLIP-SIM numbers share."""

import numpy as np

from cinetune.metrics._contract import Features, Item, Look
from cinetune.metrics.backbones._contract import ClipEye


def look(item: Item, eye: ClipEye) -> Features:
    """Return `images`, unit vectors of all frames (frames x d), and, where there is a caption, `text` (d)."""
    features: Features = {"images": _unit(eye.images(item.frames))}
    if item.caption:
        features["text"] = _unit(eye.text(item.caption))
    return features


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


LOOK = Look("clip", "1", "clip", look, caption=True)
