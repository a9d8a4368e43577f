"""DISTS on VGG16, with the published weights of its channels (Ding et al. 2020)."""

import hashlib
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from cinetune.errors import WeightsError
from cinetune.files import sha256
from cinetune.metrics.backbones import _random, _weights
from cinetune.metrics.backbones._contract import Backbone, Identity
from cinetune.metrics.backbones._dists_form import PREPROCESSING, DistsDistance, DistsEye

CHANNELS = (64, 128, 256, 512, 512)
DEPTHS = (2, 2, 3, 3, 3)
"""Convolutions of each stage of VGG16."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, for pixels in 0..1."""
TRUNK_FILE, WEIGHTS_FILE = "vgg16_features.safetensors", "weights.pt"
OBTAIN = (
    f"a folder with {TRUNK_FILE} (torchvision's vgg16, names features.N.weight) and {WEIGHTS_FILE} (dingkeyan93/DISTS)"
)


class L2Pool(nn.Module):
    """Root of the mean square under a Hann window of 3 x 3 at every second place: halves without aliasing."""

    window: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        side = torch.tensor([0.5, 1.0, 0.5])  # a Hann window of 5 without its zeros
        window = torch.outer(side, side) / side.sum() ** 2
        self.register_buffer("window", window.repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c hh ww"]:
        return (F.conv2d(x.square(), self.window, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()


class PooledVgg(nn.Module):
    """torchvision's vgg16.features up to the last ReLU, by its names, pooling by L2Pool; the map before each pool."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inner = 3
        for outer, depth in zip(CHANNELS, DEPTHS, strict=True):
            if layers:
                layers.append(L2Pool(inner))
            for _ in range(depth):
                layers += [nn.Conv2d(inner, outer, 3, padding=1), nn.ReLU()]
                inner = outer
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        x, maps = (x - self.mean) / self.deviation, []
        for layer in self.features:
            if isinstance(layer, L2Pool):
                maps.append(x)
            x = layer(x)
        return [*maps, x]


def load(path: Path | None, device: torch.device = torch.device("cpu")) -> DistsEye:  # noqa: B008
    """Load trunk and weights from the folder `path`.

    Raises:
        WeightsError: no path, or a file is missing, damaged or does not fit.
    """
    if path is None:
        raise WeightsError(f"dists: give the path of its weights: {OBTAIN}")
    files = [path / TRUNK_FILE, path / WEIGHTS_FILE]
    tensors = {f"trunk.{name}": value for name, value in _weights.read(files[0]).items()}
    tensors |= {name: value.flatten() for name, value in _weights.read(files[1]).items()}
    network = _weights.fill(DistsDistance(PooledVgg(), CHANNELS), tensors, path)
    both = hashlib.sha256("".join(sha256(file) for file in files).encode()).hexdigest()
    return DistsEye(Identity("dists", "1", PREPROCESSING, both), network, device)


def random(device: torch.device) -> DistsEye:
    """Return the network on seeded random weights, those of the channels >= 0."""
    network = _random.randomised(DistsDistance(PooledVgg(), CHANNELS))
    for weights in (network.alpha, network.beta):
        weights.abs_()
    return DistsEye(_random.random_identity("dists", "1", PREPROCESSING, network), network, device)


BACKBONE = Backbone(
    name="dists",
    kind="pair",
    licence="MIT (weights of the channels), BSD-3-Clause (trunk)",
    source="Ding et al. 2020; dingkeyan93/DISTS DISTS_pytorch/DISTS_pt.py; torchvision vgg16",
    load=load,
    obtain=OBTAIN,
    random=random,
)
