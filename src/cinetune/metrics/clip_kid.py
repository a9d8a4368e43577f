"""Kernel distance on CLIP features of frames: KID through a network that learnt from captions."""

from cinetune.metrics import _frame_set, kid
from cinetune.metrics._contract import Card, SetMetric

METRIC = SetMetric(
    name="clip_kid",
    version="1",
    unit="squared MMD",
    better="lower",
    least=8,
    source="Kynkaanniemi et al. 2023 (The Role of ImageNet Classes in FID), sec. 5; kernel of Binkowski et al. 2018",
    card=Card(
        measures="How far the frames are from real frames as a set in CLIP ViT-B/32, without bias from their number.",
        caveats="Knows what a frame shows better than how sharp it is. Order and motion play no part.",
        blind=("blur", "noise", "shuffle", "freeze", "drop", "reencode"),
    ),
    look=_frame_set.LOOK_CLIP,
    score=kid.score,
)
