"""R-LPIPS and DISTS: what they compute against independent implementations, and how loading fails."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from cinetune.errors import WeightsError
from cinetune.metrics.backbones import dists, lpips_alex, nano_dists, rlpips
from cinetune.metrics.backbones._dists_form import DistsDistance
from cinetune.metrics.backbones._lpips_form import LpipsEye

CPU = torch.device("cpu")


def photographs(shared: Path) -> tuple[np.ndarray, np.ndarray]:
    ref, other = (np.asarray(Image.open(shared / "reference" / f"ex_{n}.png").convert("RGB")) for n in ("ref", "p0"))
    return ref[None], other[None]


# -------------------------------------------------------------------------------------------- R-LPIPS

SLICES = {0: 1, 3: 2, 6: 3, 8: 4, 10: 5}
"""Layer of AlexNet -> the slice that holds it in the published LPIPS."""


def whole(eye: LpipsEye) -> dict[str, torch.Tensor]:
    """The state_dict that LPIPS(net="alex") saves: each head under two names."""
    state = {}
    for name, value in eye.network.state_dict().items():
        parts = name.split(".")
        if parts[0] == "heads":
            head = value.view(1, -1, 1, 1)
            state |= {f"{lin}.model.1.weight": head.clone() for lin in (f"lin{parts[1]}", f"lins.{parts[1]}")}
        else:
            state[f"net.slice{SLICES[int(parts[2])]}.{parts[2]}.{parts[3]}"] = value
    return state


@pytest.fixture
def robust(tmp_path: Path) -> Path:
    path = tmp_path / "latest_net_.pth"
    torch.save(whole(rlpips.random(CPU)), path)
    return path


def test_rlpips_reads_the_state_dict_of_a_whole_lpips(robust: Path, clips: list[np.ndarray]) -> None:
    eye, known = rlpips.load(robust), rlpips.random(CPU)
    assert eye.identity.name == "rlpips"
    np.testing.assert_array_equal(eye.distances(clips[0], clips[1]), known.distances(clips[0], clips[1]))
    state = torch.load(robust, weights_only=True)
    lpips_scaling = {"scaling_layer.shift": rlpips.SHIFT, "scaling_layer.scale": rlpips.SCALE}
    state |= {name: torch.tensor(values).view(1, 3, 1, 1) for name, values in lpips_scaling.items()}
    save_file(state, robust.with_suffix(".safetensors"))
    same = rlpips.load(robust.with_suffix(".safetensors"))
    np.testing.assert_array_equal(eye.distances(clips[0], clips[1]), same.distances(clips[0], clips[1]))


def test_rlpips_of_the_plain_weights_is_lpips(shared: Path, tmp_path: Path) -> None:
    """The architectures are the same, so the published LPIPS weights under the names of R-LPIPS give 0.722."""
    alex = lpips_alex.load(shared / "weights" / "lpips")
    save_file(whole(alex), tmp_path / "plain.safetensors")
    assert rlpips.load(tmp_path / "plain.safetensors").distances(*photographs(shared))[0] == pytest.approx(
        0.7218807, abs=1e-5
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"net.slice1.0.weight": None}, "trunk.features.0.weight"),
        ({"lins.3.model.1.weight": torch.zeros(1, 256, 1, 1)}, "differs from its copy"),
        ({"model.0.bias": torch.zeros(1)}, "LPIPS has no model.0.bias"),
        ({"net.slice1.0.weight": torch.zeros(64, 3, 3, 3)}, "trunk.features.0.weight"),
        ({"scaling_layer.shift": torch.zeros(1, 3, 1, 1)}, "scaling_layer.shift"),
        ({"net.slice5.10.bias": torch.full((256,), torch.nan)}, "trunk.features.10.bias"),
    ],
)
def test_rlpips_takes_nothing_else(robust: Path, change: dict[str, torch.Tensor | None], words: str) -> None:
    state = torch.load(robust, weights_only=True) | change
    torch.save({name: value for name, value in state.items() if value is not None}, robust)
    with pytest.raises(WeightsError, match=words) as error:
        rlpips.load(robust)
    assert "\n" not in str(error.value)


def test_without_a_path_the_error_says_what_to_get() -> None:
    for backbone in (rlpips, dists):
        with pytest.raises(WeightsError, match="give the path"):
            backbone.load(None)


# ---------------------------------------------------------------------------------------------- DISTS


def hann_root(x: torch.Tensor) -> torch.Tensor:
    """The pooling of DISTS, window by window."""
    hann = np.hanning(5)[1:-1]
    window = torch.from_numpy(np.outer(hann, hann) / np.outer(hann, hann).sum()).float()
    padded = F.pad(x**2, (1, 1, 1, 1))
    patches = padded.unfold(2, 3, 2).unfold(3, 3, 2)
    return ((patches * window).sum((-1, -2)) + 1e-12).sqrt()


def dists_by_hand(network: DistsDistance, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Ding et al. 2020 on VGG16, maps made layer by layer, statistics by torch.var and a covariance of raw moments."""

    def maps(x: torch.Tensor) -> list[torch.Tensor]:
        convolutions = [layer for layer in network.trunk.features if isinstance(layer, nn.Conv2d)]
        made, h = (
            [x],
            (x - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
            / torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1),
        )
        for number, layer in enumerate(convolutions):
            if number in (2, 4, 7, 10):
                h = hann_root(h)
            h = F.conv2d(h, layer.weight, layer.bias, padding=1).relu()
            if number in (1, 3, 6, 9, 12):
                made.append(h)
        return made

    alpha, beta = (w / (network.alpha.sum() + network.beta.sum()) for w in (network.alpha, network.beta))
    total, at = torch.zeros(len(a)), 0
    for x, y in zip(maps(a), maps(b), strict=True):
        here = slice(at, at := at + x.shape[1])
        mx, my = x.mean((2, 3)), y.mean((2, 3))
        vx, vy = x.var((2, 3), correction=0), y.var((2, 3), correction=0)
        cov = (x * y).mean((2, 3)) - mx * my
        total += (alpha[here] * (2 * mx * my + 1e-6) / (mx**2 + my**2 + 1e-6)).sum(1)
        total += (beta[here] * (2 * cov + 1e-6) / (vx + vy + 1e-6)).sum(1)
    return 1 - total


def test_dists_equals_a_slow_reading_of_the_paper(clips: list[np.ndarray]) -> None:
    eye = dists.random(CPU)
    a, b = (torch.from_numpy(clip[:2].copy()).permute(0, 3, 1, 2).float() / 255 for clip in clips[:2])
    np.testing.assert_allclose(
        eye.distances(clips[0][:2], clips[1][:2]), dists_by_hand(eye.network, a, b).detach().numpy(), rtol=1e-4
    )
    assert (eye.distances(clips[0], clips[0]) < 1e-6).all()


def test_dists_loads_the_published_names_and_reduces_large_frames(tmp_path: Path, clips: list[np.ndarray]) -> None:
    known = dists.random(CPU)
    trunk = {k.removeprefix("trunk."): v for k, v in known.network.state_dict().items() if k.startswith("trunk.")}
    assert len(trunk) == 26
    assert {"features.0.weight", "features.28.bias"} < set(trunk)
    save_file(trunk, tmp_path / dists.TRUNK_FILE)
    weights = {name: getattr(known.network, name).detach().view(1, 1475, 1, 1) for name in ("alpha", "beta")}
    torch.save(weights, tmp_path / dists.WEIGHTS_FILE)
    eye = dists.load(tmp_path)
    np.testing.assert_array_equal(eye.distances(clips[0], clips[1]), known.distances(clips[0], clips[1]))
    large = clips[0][:1].repeat(5, axis=1).repeat(5, axis=2)  # 320 x 480
    assert eye._prepared(large).shape == (1, 3, 256, 384)
    assert eye._prepared(clips[0]).shape == (5, 3, 64, 96)
    save_file(trunk | {"classifier.0.weight": torch.zeros(1)}, tmp_path / dists.TRUNK_FILE)
    with pytest.raises(WeightsError, match=r"classifier\.0\.weight"):
        dists.load(tmp_path)


def test_nano_dists_sees_textures_before_places(clips: list[np.ndarray]) -> None:
    """Texture moved by 3 pixels is nearer than the same blurred; LPIPS-like distances need not think so."""
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (1, 64, 96, 3), dtype=np.uint8)
    moved, grey = np.roll(texture, 3, axis=2), np.full_like(texture, 128)
    eye = nano_dists.load()
    assert eye.identity.name == "nano_dists"
    assert eye.distances(texture, texture)[0] < 1e-5
    assert eye.distances(texture, moved)[0] < 0.7 * eye.distances(texture, grey)[0]
    noisy = [np.clip(clips[0] + rng.normal(0, s, clips[0].shape), 0, 255).astype(np.uint8) for s in (5, 20)]
    assert (eye.distances(clips[0], noisy[0]) < eye.distances(clips[0], noisy[1])).all()


def test_nano_dists_is_the_trunk_of_nano_frames() -> None:
    shipped = load_file(Path(nano_dists._weights.shipped("nano_frames.safetensors")))
    network = nano_dists.load().network
    assert torch.equal(network.trunk.trunk.stages[0].down.weight, shipped["stages.0.down.weight"].float())
    assert network.channels == (3, 16, 32, 64, 96)
    assert (network.alpha == 1).all()
