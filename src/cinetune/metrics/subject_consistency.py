"""Whether all frames show the same thing."""

import numpy as np

from cinetune.metrics import _dino
from cinetune.metrics._contract import Card, Features, ItemMetric, Measured


def score(features: Features) -> Measured:
    """Return the mean over frames 1..end of half the cosine to the frame before and half that to frame 0, 0..1."""
    frames = features["frames"].astype(np.float64)
    if len(frames) < 2:
        return Measured(None, "a single frame has no other to compare it with")
    if _dino.empty(features):
        return Measured(None, _dino.NOTHING)
    before = (frames[1:] * frames[:-1]).sum(axis=1)
    first = frames[1:] @ frames[0]
    return Measured(float((np.maximum(before, 0) + np.maximum(first, 0)).mean() / 2))


METRIC = ItemMetric(
    name="subject_consistency",
    version="1",
    unit="cosine",
    better="higher",
    kind="video",
    least=8,
    source="VBench (Huang et al. 2024), subject consistency; Vchitect/VBench vbench/subject_consistency.py, there with "
    "DINO ViT-B/16",
    card=Card(
        measures="Whether what a video shows stays the same, from frame to frame and from the first frame on.",
        caveats="A still picture has the best score, and a moving camera lowers it: read it beside dynamic_degree.",
        blind=("blur", "noise", "shuffle", "freeze", "drop", "reencode", "colour"),
    ),
    look=_dino.LOOK,
    score=score,
)
