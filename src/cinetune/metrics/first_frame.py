"""Whether a video begins with the frame that was given."""

from cinetune.metrics._contract import Card, Features, Item, ItemMetric, Look, Measured
from cinetune.metrics.backbones._contract import PairEye


def look(item: Item, eye: PairEye) -> Features:
    """Return `first`: the distance of frame 0 to frame 0 of the reference, 1."""
    assert item.reference is not None
    return {"first": eye.distances(item.frames[:1], item.reference[:1])}


def score(features: Features) -> Measured:
    """Return the LPIPS distance at frame 0; a perfect copy has 0."""
    return Measured(float(features["first"][0]))


METRIC = ItemMetric(
    name="first_frame",
    version="1",
    unit="distance",
    better="lower",
    kind="pair",
    least=8,
    source="Zhang et al. 2018, eq. 1, at the frame that was given; VBench++ (Huang et al. 2024) asks the same of its "
    "image-to-video models with DINO",
    card=Card(
        measures="How different the first frame looks from the one that was given: 0 is a perfect copy.",
        caveats="Knows nothing of what comes after.",
        blind=("shuffle", "freeze", "drop"),
    ),
    look=Look("first_frame", "1", "lpips", look, pair=True),
    score=score,
)
