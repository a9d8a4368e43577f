"""How far the grade of a video is from that of its true continuation."""

from cinetune.metrics import _grade
from cinetune.metrics._contract import Card, Features, Item, ItemMetric, Look, Measured


def look(item: Item, _: None) -> Features:
    """Return `own` and `true`: mean and deviation of L*, a*, b* over frames 1..end, 2 x 3 each."""
    assert item.reference is not None
    return {"own": _grade.grade(item.frames[1:]), "true": _grade.grade(item.reference[1:])}


def score(features: Features) -> Measured:
    """Return the distance of the two grades (see `_grade.distance`), CIELAB units."""
    return Measured(_grade.distance(features["own"], features["true"]))


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
        blind=("shuffle", "drop"),
    ),
    look=Look("colour", "1", None, look, pair=True),
    score=score,
)
