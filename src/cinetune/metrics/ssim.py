"""Structural similarity of a video to its true continuation."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from cinetune.metrics._contract import Card, Features, Item, ItemMetric, Look, Measured

WINDOW, SIGMA = 11, 1.5
"""Pixels across, and deviation of the Gaussian."""
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def look(item: Item, _: None) -> Features:
    """Return `frames`: the similarity of frames 1..end, frames - 1; nothing where a frame is smaller than a window."""
    assert item.reference is not None
    if min(item.frames.shape[1:3]) < WINDOW:
        return {"frames": np.zeros(0)}
    pairs = zip(item.frames[1:], item.reference[1:], strict=True)
    return {"frames": np.array([similarity(a, b) for a, b in pairs])}


def similarity(a: UInt8[np.ndarray, "h w 3"], b: UInt8[np.ndarray, "h w 3"]) -> float:
    """Return the mean over the three channels and all windows that lie inside the frame, -1..1."""
    x, y = (frame.astype(np.float64) for frame in (a, b))
    mx, my = _blurred(x), _blurred(y)
    vx, vy, vxy = _blurred(x * x) - mx * mx, _blurred(y * y) - my * my, _blurred(x * y) - mx * my
    found = (2 * mx * my + C1) * (2 * vxy + C2) / ((mx * mx + my * my + C1) * (vx + vy + C2))
    return float(found.mean())


def _blurred(values: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "hh ww 3"]:
    edge = WINDOW // 2
    return np.asarray(cv2.GaussianBlur(values, (WINDOW, WINDOW), SIGMA)[edge:-edge, edge:-edge])


def score(features: Features) -> Measured:
    """Return the mean over frames 1..end."""
    if not len(features["frames"]):
        return Measured(None, f"frames of fewer than {WINDOW} pixels on a side hold no window")
    return Measured(float(features["frames"].mean()))


METRIC = ItemMetric(
    name="ssim",
    version="1",
    unit="similarity",
    better="higher",
    kind="pair",
    least=8,
    source="Wang et al. 2004, eq. 13, Gaussian window of 11 pixels and deviation 1.5, K1 0.01, K2 0.03; on R, G and B, "
    "as scikit-image's structural_similarity with gaussian_weights, sigma 1.5 and use_sample_covariance False",
    card=Card(
        measures="How alike brightness, contrast and pattern are in each small window of the true continuation.",
        caveats="A small shift counts as a wrong picture, flat regions always agree, and blur is forgiven.",
    ),
    look=Look("ssim", "1", None, look, pair=True),
    score=score,
)
