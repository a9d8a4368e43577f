"""Learned perceptual distance of a video to its true continuation."""

from cinetune.metrics._contract import Card, Features, Item, ItemMetric, Look, Measured
from cinetune.metrics.backbones._contract import PairEye


def look(item: Item, eye: PairEye) -> Features:
    """Return `frames`: the distance of frames 1..end to the same frames of the reference, frames - 1."""
    assert item.reference is not None
    return {"frames": eye.distances(item.frames[1:], item.reference[1:])}


def score(features: Features) -> Measured:
    """Return the mean over frames 1..end. Frame 0 was given, so it would only dilute the number."""
    return Measured(float(features["frames"].mean(dtype="float64")))


METRIC = ItemMetric(
    name="lpips",
    version="1",
    unit="distance",
    better="lower",
    kind="pair",
    least=8,
    source="Zhang et al. 2018, eq. 1; richzhang/PerceptualSimilarity lpips/lpips.py (v0.1)",
    card=Card(
        measures="How different each frame looks from the same frame of the true continuation.",
        caveats="A copy of the first frame scores well where little moves: read it beside the static arm.",
    ),
    look=Look("lpips", "1", "lpips", look, pair=True),
    score=score,
)
