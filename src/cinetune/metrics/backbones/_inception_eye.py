"""InceptionV3 of FID as metrics use it: frames in, 2048 features out; how frames reach the network is a protocol.

On a CPU the network runs with batch normalisation folded into its convolutions and channels last in memory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from cinetune.files import sha256
from cinetune.metrics.backbones import _weights
from cinetune.metrics.backbones._contract import HubFile, Identity
from cinetune.metrics.backbones._exact import exact
from cinetune.metrics.backbones._folding import folded
from cinetune.metrics.backbones._hub import fetch
from cinetune.metrics.backbones._inception import FidInception
from cinetune.metrics.backbones._pixels import to_bytes
from cinetune.metrics.backbones._random import random_identity, randomised

VERSION = "1"
CPU_BATCH, GPU_BATCH = 8, 64
"""Frames in one pass of the network."""
LICENCE = "Apache-2.0"
SOURCE = "mseitzer/pytorch-fid, from TensorFlow's inception-2015-12-05"
FILES = (
    HubFile(
        "JamesHujy/EMABench",
        "f246ee5ecfcd2435c8edd3ecb89bba9f02d6ac03",
        "pt_inception-2015-12-05-6726825d.pth",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    ),
)
OBTAIN = "pt_inception-2015-12-05-6726825d.pth of the releases of mseitzer/pytorch-fid"


@dataclass(frozen=True)
class Protocol:
    """One way of FID to bring frames to the network."""

    name: str
    preprocessing: str
    """In words."""
    resize: Callable[[UInt8[Tensor, "f 3 h w"]], Float[Tensor, "f 3 299 299"]]
    """Frames in 0..255 to the network's size, in the same range."""


class InceptionEye:
    """A loaded InceptionV3 under one protocol."""

    def __init__(self, identity: Identity, network: nn.Module, protocol: Protocol, device: torch.device) -> None:
        """Take a loaded network to `device`; it is changed for speed."""
        self.identity = identity
        self._network = folded(network).to(device)
        self._on_cpu = device.type == "cpu"
        if self._on_cpu:
            self._network = self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._protocol = protocol
        self._device = device

    @torch.inference_mode()
    def frames(self, frames: UInt8[np.ndarray, "f h w 3"]) -> Float[np.ndarray, "f 2048"]:
        """Return one vector a frame, 2048 numbers >= 0."""
        size = CPU_BATCH if self._on_cpu else GPU_BATCH
        parts = []
        for i in range(0, len(frames), size):
            pixels = (self._protocol.resize(to_bytes(frames[i : i + size], self._device)) - 128) / 128
            if self._on_cpu:
                pixels = pixels.contiguous(memory_format=torch.channels_last)
            with exact():
                parts.append(self._network(pixels).cpu())
        return torch.cat(parts).float().numpy()


def load_inception(protocol: Protocol, path: Path | None, device: torch.device) -> InceptionEye:
    """Load a checkpoint, or without a path that of the hub; parameters as mseitzer/pytorch-fid names them.

    Raises:
        WeightsError: the file is missing, damaged or does not fit, or the hub cannot be reached.
    """
    if path is None:
        (path,) = fetch(protocol.name, FILES, OBTAIN)
    network = _weights.fill(FidInception(), _weights.read(path), path)
    identity = Identity(protocol.name, VERSION, protocol.preprocessing, sha256(path))
    return InceptionEye(identity, network, protocol, device)


def random_inception(protocol: Protocol, device: torch.device) -> InceptionEye:
    """Return InceptionV3 on seeded random weights."""
    network = randomised(FidInception())
    identity = random_identity(protocol.name, VERSION, protocol.preprocessing, network)
    return InceptionEye(identity, network, protocol, device)
