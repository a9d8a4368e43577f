"""Frechet distance on CLIP features of frames."""

from cinetune.metrics import _frame_set, fid
from cinetune.metrics._contract import Card, SetMetric

METRIC = SetMetric(
    name="clip_fid",
    version="1",
    unit="squared feature distance",
    better="lower",
    least=8,
    source="Kynkaanniemi et al. 2023 (The Role of ImageNet Classes in FID), sec. 5; GaParmar/clean-fid",
    card=Card(
        measures="How far the frames are from real frames as a set: two Gaussians compared in CLIP ViT-B/32.",
        caveats="Biased upwards with few videos: compare at the same n only. Order and motion play no part.",
        blind=("blur", "noise", "shuffle", "freeze", "drop", "reencode"),
    ),
    look=_frame_set.LOOK_CLIP,
    score=fid.score,
    moments=True,
)
