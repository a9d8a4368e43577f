"""Precision: how many of the videos look real."""

from cinetune.metrics import _manifold, _video_set
from cinetune.metrics._contract import Card, SetMetric
from cinetune.ops.neighbours import Neighbours

METRIC = SetMetric(
    name="precision",
    version="1",
    unit="share of generated videos",
    better="higher",
    least=12,
    source="Kynkaanniemi et al. 2019 (Improved Precision and Recall Metric), eq. 2, with k = 5",
    card=Card(
        measures="The share of videos that lie near real ones in a video network: fidelity.",
        caveats="One real outlier has a wide ball that holds anything; density does not. Says nothing about variety.",
        blind=("blur", "noise", "shuffle", "freeze", "drop", "reencode", "colour"),
    ),
    look=_video_set.LOOK,
    score=_manifold.comparing(Neighbours.precision),
)
