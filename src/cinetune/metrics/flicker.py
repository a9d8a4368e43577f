"""How much neighbouring frames differ: flicker and motion together.

Neither direction is better. A still picture has none, and real footage has what its motion needs, so the number
is read beside that of the true continuations (arm "real").
"""

from cinetune.metrics import _motion
from cinetune.metrics._contract import Card, Features, Item, ItemMetric, Look, Measured


def look(item: Item, _: None) -> Features:
    """Return `steps`: see `_motion.steps`, frames - 1."""
    return {"steps": _motion.steps(item.frames)}


def score(features: Features) -> Measured:
    """Return the mean over neighbouring frames, grey levels 0..255."""
    if not len(features["steps"]):
        return Measured(None, "a single frame has no neighbour")
    return Measured(float(features["steps"].mean()))


METRIC = ItemMetric(
    name="flicker",
    version="1",
    unit="grey levels",
    better="neither",
    kind="video",
    least=8,
    source="VBench (Huang et al. 2024), temporal flickering, there as (255 - x) / 255",
    card=Card(
        measures="How much neighbouring frames differ, motion and flicker together.",
        caveats="Neither side is better: compare with the true continuations.",
    ),
    look=Look("flicker", "1", None, look),
    score=score,
)
