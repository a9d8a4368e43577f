"""Density: how densely real videos stand around the generated ones."""

from cinetune.metrics import _manifold, _video_set
from cinetune.metrics._contract import Card, SetMetric
from cinetune.ops.neighbours import Neighbours

METRIC = SetMetric(
    name="density",
    version="1",
    unit="mean balls over k",
    better="higher",
    least=12,
    source="Naeem et al. 2020 (Reliable Fidelity and Diversity Metrics), eq. 3, with k = 5",
    card=Card(
        measures="How densely real videos stand around each video in a video network: fidelity, about 1 for like sets.",
        caveats="Not bounded by 1; higher where all videos sit amid the real ones: read it beside coverage.",
        blind=("blur", "noise", "shuffle", "freeze", "drop", "reencode", "colour"),
    ),
    look=_video_set.LOOK,
    score=_manifold.comparing(Neighbours.density),
)
