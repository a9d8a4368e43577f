"""Motion of a video over the motion of its true continuation: 1 is right, 0 is a still picture."""

from cinetune.metrics import _motion
from cinetune.metrics._contract import Card, Features, Item, ItemMetric, Look, Measured


def look(item: Item, _: None) -> Features:
    """Return `own` and `true`: see `_motion.steps`, frames - 1 each."""
    assert item.reference is not None
    return {"own": _motion.steps(item.frames), "true": _motion.steps(item.reference)}


def score(features: Features) -> Measured:
    """Return the ratio of the mean absolute differences of neighbouring frames."""
    true = float(features["true"].mean())
    if true == 0:
        return Measured(None, "the true continuation does not move: there is no ratio")
    return Measured(float(features["own"].mean()) / true)


METRIC = ItemMetric(
    name="motion_ratio",
    version="1",
    unit="ratio",
    better="neither",
    kind="pair",
    least=8,
    source="this project: guards LPIPS, which rewards a still picture, and flicker, which cannot tell it from motion",
    card=Card(
        measures="How much the frames change, over how much the true ones do: 1 is right, 0 is a still picture.",
        caveats="Noise counts as motion.",
        blind=("reencode",),
    ),
    look=Look("motion_ratio", "1", None, look, pair=True),
    score=score,
)
