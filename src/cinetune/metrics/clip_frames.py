"""CLIP-SIM, frame to frame: whether neighbouring frames show the same thing."""

from cinetune.metrics import _clip
from cinetune.metrics._contract import Card, Features, ItemMetric, Measured


def score(features: Features) -> Measured:
    """Return the mean cosine of neighbouring frames, -1..1. A still picture has 1: read it beside motion_ratio."""
    images = features["images"]
    if len(images) < 2:
        return Measured(None, "a single frame has no neighbour")
    return Measured(float((images[1:] * images[:-1]).sum(axis=1).mean(dtype="float64")))


METRIC = ItemMetric(
    name="clip_frames",
    version="1",
    unit="cosine",
    better="higher",
    kind="video",
    least=8,
    source="EvalCrafter (Liu et al. 2024), CLIP-Temp",
    card=Card(
        measures="Whether neighbouring frames show the same thing.",
        caveats="A still picture has the best score: read it beside motion_ratio.",
        blind=("blur", "freeze", "drop", "reencode", "colour"),
    ),
    look=_clip.LOOK,
    score=score,
)
