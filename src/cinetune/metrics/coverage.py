"""Coverage: how many of the real videos have a generated one near."""

from cinetune.metrics import _manifold, _video_set
from cinetune.metrics._contract import Card, SetMetric
from cinetune.ops.neighbours import Neighbours

METRIC = SetMetric(
    name="coverage",
    version="1",
    unit="share of real videos",
    better="higher",
    least=12,
    source="Naeem et al. 2020 (Reliable Fidelity and Diversity Metrics), eq. 4, with k = 5",
    card=Card(
        measures="The share of real videos with a generated one near in a video network: variety.",
        caveats="Depends on the number of videos: compare at the same n only. Blind to videos far from all real ones.",
        blind=("blur", "noise", "shuffle", "freeze", "drop", "reencode", "colour"),
    ),
    look=_video_set.LOOK,
    score=_manifold.comparing(Neighbours.coverage),
)
