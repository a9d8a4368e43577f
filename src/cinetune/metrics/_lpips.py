"""The look and the score that all forms of LPIPS share; they differ in the network."""

import numpy as np

from cinetune.metrics._contract import Features, Item, Look, Measured
from cinetune.metrics.backbones._contract import PairEye


def distances(item: Item, eye: PairEye) -> Features:
    """Return `frames`: the distance of frames 1..end to the same frames of the reference, frames - 1."""
    assert item.reference is not None
    return {"frames": eye.distances(item.frames[1:], item.reference[1:])}


def score(features: Features) -> Measured:
    """Return the mean over frames 1..end. Frame 0 was given, so it would only dilute the number."""
    return Measured(float(features["frames"].mean(dtype=np.float64)))


def look(role: str) -> Look:
    """Return the look through the network of a role."""
    return Look(role, "1", role, distances, pair=True)
