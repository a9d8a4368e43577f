"""The package's own video network: a small 3-D CNN that learnt to tell what rendered films show.

It hardly sees motion (held-out camera movement: 41 %, near chance), so an FVD through it is mostly about looks, and
a still picture scores well: read it beside motion_ratio and LPIPS.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from cinetune.files import sha256
from cinetune.metrics.backbones import _weights
from cinetune.metrics.backbones._contract import Backbone, Identity
from cinetune.metrics.backbones._pixels import HEIGHT, STRETCHED, WIDTH, stretch, to_pixels

FEATURES = 64


def _block(inner: int, outer: int, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> nn.Sequential:
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    convolution = nn.Conv3d(inner, outer, kernel, stride, padding, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm3d(outer), nn.ReLU())


class NanoVideoNetwork(nn.Module):
    """Four 3-D convolutions, mean over time and space. About 190,000 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _block(3, 16, (1, 5, 5), (1, 4, 4)),
            _block(16, 32, (3, 3, 3), (1, 2, 2)),
            _block(32, 64, (3, 3, 3), (2, 2, 2)),
            _block(64, FEATURES, (3, 3, 3), (2, 1, 1)),
        )

    def forward(self, x: Float[Tensor, "b 3 f h w"]) -> Float[Tensor, "b 64"]:
        pooled: Tensor = self.layers(x).mean((2, 3, 4))
        return pooled


class NanoVideo:
    """Features: 64 numbers >= 0 for a video of any length."""

    least_frames = 1

    def __init__(self, identity: Identity, network: nn.Module, device: torch.device) -> None:
        """Take a loaded network to `device`."""
        self.identity = identity
        self._network = network.to(device)
        self._device = device

    @torch.inference_mode()
    def video(self, frames: UInt8[np.ndarray, "f h w 3"]) -> Float[np.ndarray, " 64"]:
        """Return one vector for the whole video."""
        small = torch.empty(3, len(frames), HEIGHT, WIDTH, device=self._device)
        for t, frame in enumerate(frames):
            small[:, t] = stretch(to_pixels(frame[None], self._device))[0]
        return np.asarray(self._network(small[None])[0].float().cpu().numpy())


def load(path: Path | None = None, device: torch.device = torch.device("cpu")) -> NanoVideo:  # noqa: B008
    """Load the weights at `path`, or those in the package.

    Raises:
        WeightsError: missing, damaged or not of this network.
    """
    path = path or _weights.shipped("nano_video.safetensors")
    network = _weights.fill(NanoVideoNetwork(), _weights.read(path), path)
    return NanoVideo(Identity("nano_video", "1", STRETCHED, sha256(path)), network, device)


BACKBONE = Backbone(
    name="nano_video",
    kind="video",
    licence="Apache-2.0",
    source="cinetune/nano/backbones.py, on rendered films",
    load=load,
)
