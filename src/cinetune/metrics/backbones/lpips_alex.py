"""LPIPS v0.1 on AlexNet, the forward metric that papers report."""

from pathlib import Path

import torch
from torch import Tensor, nn

from cinetune.metrics.backbones._contract import Backbone
from cinetune.metrics.backbones._lpips_form import LpipsEye
from cinetune.metrics.backbones._published_lpips import Trunk, load_published

CHANNELS = (64, 192, 384, 256, 256)


class AlexNetTrunk(nn.Module):
    """torchvision's alexnet.features up to the last ReLU, by its names; returns the map after each ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                maps.append(x)
        return maps


TRUNK = Trunk(
    "lpips_alex", AlexNetTrunk, CHANNELS, "alexnet_features.safetensors", "lpips_v0.1_alex_linear.safetensors"
)


def load(path: Path | None, device: torch.device = torch.device("cpu")) -> LpipsEye:  # noqa: B008
    """Load trunk and heads from the folder `path`.

    Raises:
        WeightsError: no path, or a file is missing, damaged or does not fit.
    """
    return load_published(TRUNK, path, device)


BACKBONE = Backbone(
    name="lpips_alex",
    kind="pair",
    licence="BSD-2-Clause (heads), BSD-3-Clause (trunk)",
    source="richzhang/PerceptualSimilarity, v0.1; torchvision alexnet",
    load=load,
)
