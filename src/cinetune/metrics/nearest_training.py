"""How near the nearest training clip is: memorisation."""

from collections.abc import Sequence

import numpy as np

from cinetune.metrics import _dino
from cinetune.metrics._contract import Card, CorpusMetric, Features, Measured


def score(features: Features, training: Sequence[Features]) -> Measured:
    """Return the largest similarity to one training video, cosine.

    The similarity of two videos is the mean over frames 1..end of the first (frame 0 may be given) of the largest
    cosine to any frame of the other, so that a copy is found at any moment and speed.
    """
    if not training:
        return Measured(None, "there are no training videos to search; name them")
    if any(_dino.empty(video) for video in (features, *training)):
        return Measured(None, _dino.NOTHING)
    own = features["frames"][1:] if len(features["frames"]) > 1 else features["frames"]
    near = [(own @ clip["frames"].T).max(axis=1).mean(dtype=np.float64) for clip in training]
    return Measured(float(max(near)))


METRIC = CorpusMetric(
    name="nearest_training",
    version="1",
    unit="cosine",
    better="neither",
    least=8,
    source="after Somepalli et al. 2023 (Diffusion Art or Digital Forgery?), largest similarity of features to any "
    "training image; here by frames of videos",
    card=Card(
        measures="How similar the most similar training clip is, frame by frame: 1 is a copy.",
        caveats="Neither side is better. Nearer than held-out clips of the same film are: memorised; much farther: not "
        "the film's world.",
        blind=("shuffle", "freeze", "drop"),
    ),
    look=_dino.LOOK,
    score=score,
)
