"""Recall: how much of what is real could have been made."""

from cinetune.metrics import _manifold, _video_set
from cinetune.metrics._contract import Card, SetMetric
from cinetune.ops.neighbours import Neighbours

METRIC = SetMetric(
    name="recall",
    version="1",
    unit="share of real videos",
    better="higher",
    least=12,
    source="Kynkaanniemi et al. 2019 (Improved Precision and Recall Metric), eq. 2, with k = 5",
    card=Card(
        measures="The share of real videos that lie near generated ones in a video network: variety.",
        caveats="Scattered bad videos have wide balls and raise it; coverage does not fall for that.",
        blind=("blur", "noise", "shuffle", "freeze", "drop", "reencode", "colour"),
    ),
    look=_video_set.LOOK,
    score=_manifold.comparing(Neighbours.recall),
)
