"""I3D under the protocol of universome/stylegan-v (fvd2048_16f).

Frames are resized to 224x224 as torch does by default, so pixel centres align, and scaled to -1..1. The other
difference to google-research, a covariance over n in place of n - 1, belongs to the metric.
"""

from pathlib import Path

import torch

from cinetune.metrics.backbones._contract import Backbone
from cinetune.metrics.backbones._i3d import SIZE
from cinetune.metrics.backbones._i3d_eye import (
    FILES,
    LICENCE,
    OBTAIN,
    SOURCE,
    I3dEye,
    Protocol,
    load_i3d,
    random_i3d,
)
from cinetune.metrics.backbones._pixels import plain_bilinear

PROTOCOL = Protocol(
    "i3d_stylegan_v",
    "torch bilinear to 224x224 (half-pixel centres, no antialiasing, aspect not kept), -1..1",
    lambda frames: plain_bilinear(frames, SIZE, SIZE),
)


def load(path: Path | None, device: torch.device = torch.device("cpu")) -> I3dEye:  # noqa: B008
    """Load the checkpoint at `path`, or that of the hub.

    Raises:
        WeightsError: the file is missing, damaged or does not fit, or the hub cannot be reached.
    """
    return load_i3d(PROTOCOL, path, device)


BACKBONE = Backbone(
    name="i3d_stylegan_v",
    kind="video",
    licence=LICENCE,
    source=SOURCE,
    load=load,
    files=FILES,
    obtain=OBTAIN,
    random=lambda device: random_i3d(PROTOCOL, device),
)
