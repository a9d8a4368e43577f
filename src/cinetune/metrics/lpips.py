"""Learned perceptual distance of a video to its true continuation."""

from cinetune.metrics import _lpips
from cinetune.metrics._contract import Card, ItemMetric

METRIC = ItemMetric(
    name="lpips",
    version="1",
    unit="distance",
    better="lower",
    kind="pair",
    least=8,
    source="Zhang et al. 2018, eq. 1; richzhang/PerceptualSimilarity lpips/lpips.py (v0.1)",
    card=Card(
        measures="How different each frame looks from the same frame of the true continuation.",
        caveats="A copy of the first frame scores well where little moves: read it beside the static arm.",
    ),
    look=_lpips.look("lpips"),
    score=_lpips.score,
)
