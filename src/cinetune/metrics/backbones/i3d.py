"""I3D under the protocol of the first FVD: google-research, frechet_video_distance.

Frames are resized to 224x224 as TensorFlow 1 does by default and scaled to -1..1.
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
from cinetune.metrics.backbones._pixels import tf1_bilinear

PROTOCOL = Protocol(
    "i3d",
    "TensorFlow 1 bilinear to 224x224 (no half-pixel centres, no antialiasing, aspect not kept), -1..1",
    lambda frames: tf1_bilinear(frames, SIZE),
)


def load(path: Path | None, device: torch.device = torch.device("cpu")) -> I3dEye:  # noqa: B008
    """Load the checkpoint at `path`, or that of the hub.

    Raises:
        WeightsError: the file is missing, damaged or does not fit, or the hub cannot be reached.
    """
    return load_i3d(PROTOCOL, path, device)


BACKBONE = Backbone(
    name="i3d",
    kind="video",
    licence=LICENCE,
    source=SOURCE,
    load=load,
    files=FILES,
    obtain=OBTAIN,
    random=lambda device: random_i3d(PROTOCOL, device),
)
