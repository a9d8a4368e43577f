"""How much fine detail the frames have."""

import cv2
import numpy as np

from cinetune.metrics._contract import Card, Features, Item, ItemMetric, Look, Measured


def look(item: Item, _: None) -> Features:
    """Return `edges`: standard deviation of the Laplacian (4 neighbours) of the luma of each frame, grey levels."""
    grey = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in item.frames)
    return {"edges": np.array([cv2.Laplacian(frame, cv2.CV_32F).std(dtype=np.float64) for frame in grey])}


def score(features: Features) -> Measured:
    """Return the mean over all frames, grey levels."""
    return Measured(float(features["edges"].mean()))


METRIC = ItemMetric(
    name="sharpness",
    version="1",
    unit="grey levels",
    better="neither",
    kind="video",
    least=8,
    source="Pertuz et al. 2013 (Analysis of focus measure operators), LAP4, variance of the Laplacian; here its root",
    card=Card(
        measures="How much fine detail the frames have: the strength of differences between neighbouring pixels.",
        caveats="Neither side is better: noise and block edges count as detail, and grain belongs to some films. "
        "Depends on the size of the frames: compare equal sizes with the true continuations.",
        blind=("shuffle", "freeze", "drop"),
    ),
    look=Look("sharpness", "1", None, look),
    score=score,
)
