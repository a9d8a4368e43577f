"""InceptionV3 of FID with clean preprocessing: antialiased, in floats, the same on every machine."""

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
from cinetune.metrics.backbones._pixels import clean_bicubic

PROTOCOL = Protocol(
    "inception",
    "antialiased bicubic to 299x299 in floats (aspect not kept), (x - 128) / 128",
    lambda frames: clean_bicubic(frames, SIZE),
)


def load(path: Path | None, device: torch.device = torch.device("cpu")) -> InceptionEye:  # noqa: B008
    """Load the checkpoint at `path`, or that of the hub.

    Raises:
        WeightsError: the file is missing, damaged or does not fit, or the hub cannot be reached.
    """
    return load_inception(PROTOCOL, path, device)


BACKBONE = Backbone(
    name="inception",
    kind="frames",
    licence=LICENCE,
    source=SOURCE,
    load=load,
    files=FILES,
    obtain=OBTAIN,
    random=lambda device: random_inception(PROTOCOL, device),
)
