"""Learned perceptual distance that is hard to fool."""

from cinetune.metrics import _lpips
from cinetune.metrics._contract import Card, ItemMetric

METRIC = ItemMetric(
    name="rlpips",
    version="1",
    unit="distance",
    better="lower",
    kind="pair",
    least=8,
    source="Ghazanfari et al. 2023 (R-LPIPS: An Adversarially Robust Perceptual Similarity Metric); "
    "SaraGhazanfari/R-LPIPS lpips/lpips.py",
    card=Card(
        measures="How different each frame looks from the same frame of the true continuation, to a network trained on "
        "attacks.",
        caveats="Robust only with robust weights: the nano form is the package's own LPIPS, and as easy to fool. A "
        "copy of the first frame scores well where little moves.",
    ),
    look=_lpips.look("rlpips"),
    score=_lpips.score,
)
