"""The package's own frame network: a small CNN that learnt to tell what rendered films show."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import nn

from cinetune.files import sha256
from cinetune.metrics.backbones import _weights
from cinetune.metrics.backbones._contract import Backbone, Identity
from cinetune.metrics.backbones._nano_trunk import NanoTrunk
from cinetune.metrics.backbones._pixels import STRETCHED, stretch, to_pixels

BATCH = 32


class NanoFrames:
    """Features: the last map averaged over space, 96 numbers >= 0."""

    def __init__(self, identity: Identity, trunk: nn.Module, device: torch.device) -> None:
        """Take a loaded trunk to `device`."""
        self.identity = identity
        self._trunk = trunk.to(device)
        self._device = device

    @torch.inference_mode()
    def frames(self, frames: UInt8[np.ndarray, "f h w 3"]) -> Float[np.ndarray, "f 96"]:
        """Return one vector a frame."""
        parts = []
        for i in range(0, len(frames), BATCH):
            small = [stretch(to_pixels(frame[None], self._device)) for frame in frames[i : i + BATCH]]
            parts.append(self._trunk(torch.cat(small))[-1].mean((2, 3)))
        return torch.cat(parts).float().cpu().numpy()


def load(path: Path | None = None, device: torch.device = torch.device("cpu")) -> NanoFrames:  # noqa: B008
    """Load the weights at `path`, or those in the package.

    Raises:
        WeightsError: missing, damaged or not of this network.
    """
    path = path or _weights.shipped("nano_frames.safetensors")
    trunk = _weights.fill(NanoTrunk(), _weights.read(path), path)
    return NanoFrames(Identity("nano_frames", "1", STRETCHED, sha256(path)), trunk, device)


BACKBONE = Backbone(
    name="nano_frames",
    kind="frames",
    licence="Apache-2.0",
    source="cinetune/nano/backbones.py, on rendered films",
    load=load,
)
