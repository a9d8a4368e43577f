"""LPIPS on VGG16 against an implementation of its own here, on seeded trunk weights and the real heads."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from cinetune.errors import WeightsError
from cinetune.metrics.backbones import lpips_vgg
from cinetune.metrics.backbones._random import draw
from cinetune.metrics.backbones._resolve import resolve

HEADS = "lpips_v0.1_vgg_linear.safetensors"


def stages() -> list[nn.Sequential]:
    """VGG16's convolutions by hand, in five pieces that end after relu1_2, 2_2, 3_3, 4_3 and 5_3."""

    def conv(inner: int, outer: int) -> list[nn.Module]:
        return [nn.Conv2d(inner, outer, 3, 1, 1), nn.ReLU()]

    return [
        nn.Sequential(*conv(3, 64), *conv(64, 64)),
        nn.Sequential(nn.MaxPool2d(2), *conv(64, 128), *conv(128, 128)),
        nn.Sequential(nn.MaxPool2d(2), *conv(128, 256), *conv(256, 256), *conv(256, 256)),
        nn.Sequential(nn.MaxPool2d(2), *conv(256, 512), *conv(512, 512), *conv(512, 512)),
        nn.Sequential(nn.MaxPool2d(2), *conv(512, 512), *conv(512, 512), *conv(512, 512)),
    ]


NAMES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""torchvision's vgg16: the places of the convolutions among `features`."""


@torch.inference_mode()
def test_it_is_lpips_by_hand(shared: Path, tmp_path: Path) -> None:
    trunk = draw(lpips_vgg.VggTrunk(), 7)
    assert sorted({int(name.split(".")[1]) for name in trunk}) == list(NAMES)
    unused = {"classifier.6.weight": torch.zeros(10, 4)}
    torch.save(trunk | unused, tmp_path / "vgg16-397923af.pth")
    heads = load_file(shared / "weights" / "lpips" / HEADS)
    save_file(heads, tmp_path / HEADS)
    eye = lpips_vgg.load(tmp_path)

    pieces, places = stages(), iter(NAMES)
    for layer in (layer for piece in pieces for layer in piece if isinstance(layer, nn.Conv2d)):
        place = next(places)
        layer.load_state_dict({part: trunk[f"features.{place}.{part}"] for part in ("weight", "bias")})
    a, b = (np.random.default_rng(seed).integers(0, 256, (2, 48, 64, 3), np.uint8) for seed in (1, 2))
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x, y = ((torch.from_numpy(v).permute(0, 3, 1, 2) / 255 - mean) / deviation for v in (a, b))
    expected = torch.zeros(2)
    for k, piece in enumerate(pieces):
        x, y = piece(x), piece(y)
        unit = [m / (m.norm(dim=1, keepdim=True) + 1e-10) for m in (x, y)]
        expected += nn.functional.conv2d((unit[0] - unit[1]) ** 2, heads[f"lin{k}.model.1.weight"]).mean((1, 2, 3))
    # LPIPS rounds ImageNet's mean and deviation to three digits in -1..1, by up to 0.6 thousandths.
    np.testing.assert_allclose(eye.distances(a, b), expected.numpy(), rtol=2e-3)
    eye.network.shift.copy_(mean * 2 - 1)
    eye.network.scale.copy_(deviation * 2)
    np.testing.assert_allclose(eye.distances(a, b), expected.numpy(), rtol=1e-4)


def test_a_folder_without_the_trunk(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no vgg16_features\.safetensors or vgg16-397923af\.pth.*lpips_vgg"):
        lpips_vgg.load(tmp_path)


def test_random_weights_make_a_distance() -> None:
    eye = resolve("lpips_vgg", "random", {}, torch.device("cpu"))
    a, b = (np.random.default_rng(seed).integers(0, 256, (1, 32, 32, 3), np.uint8) for seed in (1, 2))
    assert eye.identity.name == "lpips_vgg random"
    assert eye.distances(a, b)[0] > 0  # type: ignore[attr-defined]
    assert eye.distances(a, a)[0] == 0  # type: ignore[attr-defined]
