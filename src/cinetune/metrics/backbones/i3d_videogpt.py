"""I3D under the protocol of wilson1yan/VideoGPT.

The shorter side of a frame becomes 224, the centre is cropped and scaled to -1..1. That repository also runs the
network with a batch normalisation epsilon of 1e-5, where the published graph has 0.001. That is a slip of a port and
not a choice of preprocessing, so it is not repeated here: the network is the same in all three protocols.
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
from cinetune.metrics.backbones._pixels import cover_and_crop

PROTOCOL = Protocol(
    "i3d_videogpt",
    "torch bilinear of the shorter side to 224 (no antialiasing), centre crop 224x224, -1..1",
    lambda frames: cover_and_crop(frames, SIZE),
)


def load(path: Path | None, device: torch.device = torch.device("cpu")) -> I3dEye:  # noqa: B008
    """Load the checkpoint at `path`, or that of the hub.

    Raises:
        WeightsError: the file is missing, damaged or does not fit, or the hub cannot be reached.
    """
    return load_i3d(PROTOCOL, path, device)


BACKBONE = Backbone(
    name="i3d_videogpt",
    kind="video",
    licence=LICENCE,
    source=SOURCE,
    load=load,
    files=FILES,
    obtain=OBTAIN,
    random=lambda device: random_i3d(PROTOCOL, device),
)
