"""LPIPS v0.1 on AlexNet, the forward metric that papers report."""

from pathlib import Path

import torch
from torch import Tensor, nn

from cinetune.metrics.backbones._contract import Backbone, HubFile
from cinetune.metrics.backbones._lpips_form import LpipsEye
from cinetune.metrics.backbones._published_lpips import Trunk, load_published, random_lpips

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


TRUNK_FILE = HubFile(
    "CSWRY/VOSR",
    "main",
    "torch_cache/checkpoints/alexnet-owt-7be5be79.pth",
    "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
)
HEADS_FILE = HubFile(
    "chaofengc/IQA-PyTorch-Weights",
    "2c6fd29ed801a279061a1202cbb20e8c3a05d961",
    "LPIPS_v0.1_alex-df73285e.pth",
    "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
)
TRUNK = Trunk(
    "lpips_alex",
    AlexNetTrunk,
    CHANNELS,
    ("alexnet_features.safetensors", "alexnet-owt-7be5be79.pth"),
    ("lpips_v0.1_alex_linear.safetensors", "LPIPS_v0.1_alex-df73285e.pth", "alex.pth"),
    (TRUNK_FILE, HEADS_FILE),
    "alexnet-owt-7be5be79.pth of torchvision and lpips/weights/v0.1/alex.pth of richzhang/PerceptualSimilarity",
)


def load(path: Path | None, device: torch.device = torch.device("cpu")) -> LpipsEye:  # noqa: B008
    """Load trunk and heads from the folder `path`, or from the hub.

    Raises:
        WeightsError: a file is missing, damaged or does not fit, or the hub cannot be reached.
    """
    return load_published(TRUNK, path, device)


BACKBONE = Backbone(
    name="lpips_alex",
    kind="pair",
    licence="BSD-2-Clause (heads), BSD-3-Clause (trunk)",
    source="richzhang/PerceptualSimilarity, v0.1; torchvision alexnet",
    load=load,
    files=TRUNK.hub,
    obtain=TRUNK.obtain,
    random=lambda device: random_lpips(TRUNK, device),
)
