"""CMMD: maximum mean discrepancy of frames in CLIP ViT-L/14 at 336 pixels, with a Gaussian kernel."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from cinetune.metrics import _frame_set
from cinetune.metrics._contract import Card, Comparison, Features, Positions, SetMetric
from cinetune.ops import distances

SIGMA = 10.0
SCALE = 1000.0
"""Both as published."""


def score(videos: Sequence[Features], clusters: Positions) -> Comparison:
    """Compare subsets by the unbiased MMD of unit vectors over pairs of frames from different clusters, x 1000."""
    frames = [features["frames"].astype(np.float64) for features in videos]
    unit = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in frames]
    kernel = SCALE * distances.video_kernel(unit, partial(distances.gaussian_kernel, sigma=SIGMA))
    return Comparison(lambda left, right: distances.mmd(kernel, left, right, clusters), lambda n: "")


METRIC = SetMetric(
    name="cmmd",
    version="1",
    unit="1000 x squared MMD",
    better="lower",
    least=8,
    source="Jayasumana et al. 2024 (Rethinking FID), eq. 4 and 5, sigma 10, x 1000",
    card=Card(
        measures="How far the frames are from real frames as a set in CLIP ViT-L/14, without taking them for Gaussian.",
        caveats="Unbiased, so it can be below zero; the published tool keeps the biased form, which is larger by about "
        "1000 (1 - mean kernel) (1/n + 1/m). Order and motion play no part.",
        blind=("blur", "noise", "shuffle", "freeze", "drop", "reencode"),
    ),
    look=_frame_set.LOOK_CLIP_LARGE,
    score=score,
)
