"""How far the grade of a video is from the grades of the film that the model was trained on."""

from collections.abc import Sequence

from cinetune.metrics import _grade
from cinetune.metrics._contract import Card, CorpusMetric, Features, Item, Look, Measured


def look(item: Item, _: None) -> Features:
    """Return `grade`: mean and deviation of L*, a*, b* over frames 1..end (frame 0 may be given), 2 x 3."""
    return {"grade": _grade.grade(item.frames[1:] if len(item.frames) > 1 else item.frames)}


def score(features: Features, training: Sequence[Features]) -> Measured:
    """Return the distance to the nearest grade of a training video (see `_grade.distance`), CIELAB units.

    Not to their mean: a film has scenes by day and by night, and its own clips are far from what lies between.
    """
    if not training:
        return Measured(None, "there are no training videos to compare the grade with; name them")
    return Measured(min(_grade.distance(features["grade"], clip["grade"]) for clip in training))


METRIC = CorpusMetric(
    name="grade",
    version="1",
    unit="CIELAB units",
    better="lower",
    least=8,
    source="Reinhard et al. 2001 (Color Transfer between Images): mean and deviation in a perceptual space",
    card=Card(
        measures="How far lightness and tint are from the nearest clip of the film that the model was trained on.",
        caveats="The more training clips, the nearer is one of them: compare with held-out clips of the film. Does not "
        "see a grade that the film has, but not in such a scene.",
        blind=("shuffle", "freeze", "drop"),
    ),
    look=Look("grade", "1", None, look),
    score=score,
)
