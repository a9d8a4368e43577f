"""LPIPS v0.1 on VGG16, the form that losses use; ten times the work of AlexNet."""

from pathlib import Path

import torch
from torch import Tensor, nn

from cinetune.metrics.backbones._contract import Backbone, HubFile
from cinetune.metrics.backbones._lpips_form import LpipsEye
from cinetune.metrics.backbones._published_lpips import Trunk, load_published, random_lpips

CHANNELS = (64, 128, 256, 512, 512)
LAYERS = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512)
"""Channels of the 3x3 convolutions, each before a ReLU; M halves the size (Simonyan and Zisserman 2014, table 1, D)."""
TAPS = (3, 8, 15, 22, 29)
"""Layers whose output LPIPS compares: the last ReLU before each halving."""


class VggTrunk(nn.Module):
    """torchvision's vgg16.features up to the last ReLU, by its names; returns the five maps that LPIPS compares."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inner = 3
        for outer in LAYERS:
            if isinstance(outer, int):
                layers += [nn.Conv2d(inner, outer, 3, padding=1), nn.ReLU()]
                inner = outer
            else:
                layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in TAPS:
                maps.append(x)
        return maps


TRUNK_FILE = HubFile(
    "ByteDance/LatentSync-1.5",
    "32a20d29aead0498e3e885e90dbbe8027da1b61b",
    "auxiliary/vgg16-397923af.pth",
    "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
)
HEADS_FILE = HubFile(
    "chaofengc/IQA-PyTorch-Weights",
    "70fc812e916660523ae6712dabffdcd4e469ff51",
    "LPIPS_v0.1_vgg-a78928a0.pth",
    "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
)
TRUNK = Trunk(
    "lpips_vgg",
    VggTrunk,
    CHANNELS,
    ("vgg16_features.safetensors", "vgg16-397923af.pth"),
    ("lpips_v0.1_vgg_linear.safetensors", "LPIPS_v0.1_vgg-a78928a0.pth", "vgg.pth"),
    (TRUNK_FILE, HEADS_FILE),
    "vgg16-397923af.pth of torchvision and lpips/weights/v0.1/vgg.pth of richzhang/PerceptualSimilarity",
)


def load(path: Path | None, device: torch.device = torch.device("cpu")) -> LpipsEye:  # noqa: B008
    """Load trunk and heads from the folder `path`, or from the hub.

    Raises:
        WeightsError: a file is missing, damaged or does not fit, or the hub cannot be reached.
    """
    return load_published(TRUNK, path, device)


BACKBONE = Backbone(
    name="lpips_vgg",
    kind="pair",
    licence="BSD-2-Clause (heads), BSD-3-Clause (trunk)",
    source="richzhang/PerceptualSimilarity, v0.1; torchvision vgg16",
    load=load,
    files=TRUNK.hub,
    obtain=TRUNK.obtain,
    random=lambda device: random_lpips(TRUNK, device),
)
