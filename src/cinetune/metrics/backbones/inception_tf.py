"""InceptionV3 of FID with the resize of the first FID and of torch-fidelity, TensorFlow 1's, which aliases."""

from pathlib import Path

import torch

from cinetune.metrics.backbones._contract import Backbone
from cinetune.metrics.backbones._inception import SIZE
from cinetune.metrics.backbones._inception_eye import (
    FILES,
    LICENCE,
    OBTAIN,
    SOURCE,
    InceptionEye,
    Protocol,
    load_inception,
    random_inception,
)
from cinetune.metrics.backbones._pixels import tf1_bilinear

PROTOCOL = Protocol(
    "inception_tf",
    "TensorFlow 1 bilinear to 299x299 (no half-pixel centres, aspect not kept), (x - 128) / 128",
    lambda frames: tf1_bilinear(frames, SIZE),
)


def load(path: Path | None, device: torch.device = torch.device("cpu")) -> InceptionEye:  # noqa: B008
    """Load the checkpoint at `path`, or that of the hub.

    Raises:
        WeightsError: the file is missing, damaged or does not fit, or the hub cannot be reached.
    """
    return load_inception(PROTOCOL, path, device)


BACKBONE = Backbone(
    name="inception_tf",
    kind="frames",
    licence=LICENCE,
    source=SOURCE,
    load=load,
    files=FILES,
    obtain=OBTAIN,
    random=lambda device: random_inception(PROTOCOL, device),
)
