"""LPIPS v0.1 on SqueezeNet 1.1: smaller than AlexNet, and rarer in papers."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cinetune.metrics.backbones._contract import Backbone
from cinetune.metrics.backbones._lpips_form import LpipsEye
from cinetune.metrics.backbones._published_lpips import Trunk, load_published, random_lpips

CHANNELS = (64, 128, 256, 384, 384, 512, 512)
TAPS = (1, 4, 7, 9, 10, 11, 12)
"""Layers whose output LPIPS compares."""


class Fire(nn.Module):
    """Squeeze to few channels, expand with 1x1 and 3x3 side by side (Iandola et al. 2016, fig. 1)."""

    def __init__(self, inner: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inner, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], dim=1)


class SqueezeNetTrunk(nn.Module):
    """torchvision's squeezenet1_1.features, by its names; returns the seven maps that LPIPS compares."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(64, 16, 64), Fire(128, 16, 64), nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(128, 32, 128), Fire(256, 32, 128), nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
        )  # fmt: skip

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in TAPS:
                maps.append(x)
        return maps


TRUNK = Trunk(
    "lpips_squeeze",
    SqueezeNetTrunk,
    CHANNELS,
    ("squeezenet1_1_features.safetensors", "squeezenet1_1-b8a52dc0.pth"),
    ("lpips_v0.1_squeeze_linear.safetensors", "LPIPS_v0.1_squeeze-4a5350f2.pth", "squeeze.pth"),
    (),
    "squeezenet1_1-b8a52dc0.pth of torchvision and lpips/weights/v0.1/squeeze.pth of richzhang/PerceptualSimilarity",
)


def load(path: Path | None, device: torch.device = torch.device("cpu")) -> LpipsEye:  # noqa: B008
    """Load trunk and heads from the folder `path`; the hub has no copy.

    Raises:
        WeightsError: no path, or a file is missing, damaged or does not fit.
    """
    return load_published(TRUNK, path, device)


BACKBONE = Backbone(
    name="lpips_squeeze",
    kind="pair",
    licence="BSD-2-Clause (heads), BSD-3-Clause (trunk)",
    source="richzhang/PerceptualSimilarity, v0.1; torchvision squeezenet1_1",
    load=load,
    obtain=TRUNK.obtain,
    random=lambda device: random_lpips(TRUNK, device),
)
