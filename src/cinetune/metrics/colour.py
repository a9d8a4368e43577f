"""How far the grade of a video is from that of its true continuation."""

import math

import cv2
import numpy as np

from cinetune.metrics._contract import Card, Features, Frames, Item, ItemMetric, Look, Measured


def look(item: Item, _: None) -> Features:
    """Return `own` and `true`: mean and deviation of L*, a*, b* over frames 1..end, 2 x 3 each."""
    assert item.reference is not None
    return {"own": _grade(item.frames[1:]), "true": _grade(item.reference[1:])}


def _grade(frames: Frames) -> np.ndarray:
    sums, squares = np.zeros(3), np.zeros(3)
    for frame in frames:  # frame by frame: a whole 720p video in floats would not fit beside others
        lab = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).reshape(-1, 3)
        sums += lab.mean(axis=0, dtype=np.float64)
        squares += np.square(lab, dtype=np.float64).mean(axis=0)
    mean = sums / len(frames)
    return np.stack([mean, np.sqrt(np.maximum(squares / len(frames) - mean**2, 0))])


def score(features: Features) -> Measured:
    """Return the distance of the six numbers: the Wasserstein distance of Gaussians fitted to each channel."""
    return Measured(math.sqrt(float(((features["own"] - features["true"]) ** 2).sum())))


METRIC = ItemMetric(
    name="colour",
    version="1",
    unit="CIELAB units",
    better="lower",
    kind="pair",
    least=8,
    source="Reinhard et al. 2001 (Color Transfer between Images): mean and deviation in a perceptual space",
    card=Card(
        measures="How far the grade, mean and spread of lightness and tint, is from the true continuation.",
        caveats="Knows nothing of where the colours are.",
        blind=("shuffle", "freeze", "drop"),
    ),
    look=Look("colour", "1", None, look, pair=True),
    score=score,
)
