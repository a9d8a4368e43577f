"""Learned perceptual distance through VGG16."""

from cinetune.metrics import _lpips
from cinetune.metrics._contract import Card, ItemMetric

METRIC = ItemMetric(
    name="lpips_vgg",
    version="1",
    unit="distance",
    better="lower",
    kind="pair",
    least=8,
    source="Zhang et al. 2018, eq. 1; richzhang/PerceptualSimilarity lpips/lpips.py (v0.1, net='vgg')",
    card=Card(
        measures="How different each frame looks from the same frame of the true continuation, to VGG16.",
        caveats="A copy of the first frame scores well where little moves: read it beside the static arm. Not on the "
        "scale of lpips.",
    ),
    look=_lpips.look("lpips_vgg"),
    score=_lpips.score,
)
