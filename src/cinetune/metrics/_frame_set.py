"""The looks of metrics that compare sets of videos by some frames of each."""

import numpy as np
from jaxtyping import UInt8

from cinetune.metrics._contract import Features, Frames, Item, Look
from cinetune.metrics.backbones._contract import ClipEye, FrameEye

FRAMES = 8
"""Frames looked at, spread evenly over frames 1..end and with the last. Neighbours hardly differ, and frame 0 was
given."""


def picked(frames: Frames) -> UInt8[np.ndarray, "picked h w 3"]:
    """Return at most FRAMES frames."""
    last = len(frames) - 1
    return np.asarray(frames[np.unique(np.linspace(last / FRAMES, last, FRAMES).round().astype(int))])


def look(item: Item, eye: FrameEye) -> Features:
    """Return `frames`: vectors of at most FRAMES frames, frames x d."""
    return {"frames": eye.frames(picked(item.frames))}


def look_clip(item: Item, eye: ClipEye) -> Features:
    """Return `frames`: CLIP vectors of at most FRAMES frames, frames x d, not normalised."""
    return {"frames": eye.images(picked(item.frames))}


LOOK = Look("kid", "1", "frames", look)
LOOK_CLIP = Look("clip_set", "1", "clip", look_clip)
LOOK_CLIP_LARGE = Look("clip_large_set", "1", "clip_large", look_clip)
