"""InceptionV3 of FID against toshas/torch-fidelity on the same seeded weights, and its two ways to resize."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from cinetune.metrics.backbones import inception, inception_tf
from cinetune.metrics.backbones._contract import FrameEye, Identity
from cinetune.metrics.backbones._inception import FidInception
from cinetune.metrics.backbones._inception_eye import InceptionEye
from cinetune.metrics.backbones._random import randomised
from cinetune.metrics.backbones._resolve import resolve

CPU = torch.device("cpu")
WEIGHTS_SEED, INPUT_SEED = 201, 202
"""Of shared/reference/backbones/README.md."""
DEPTHS = {"64": "MaxPool_1", "192": "MaxPool_2", "768": "Mixed_6e"}


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, np.ndarray]:
    return dict(np.load(shared / "reference" / "backbones" / "golden.npz"))


@pytest.fixture(scope="module")
def network() -> FidInception:
    return randomised(FidInception(), WEIGHTS_SEED)


def inputs() -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(INPUT_SEED)
    noise = torch.from_numpy(rng.integers(0, 256, (4, 3, 128, 160), np.uint8))
    coarse = torch.from_numpy(rng.integers(0, 256, (4, 3, 9, 12)).astype(np.float32))
    smooth = F.interpolate(coarse, (128, 160), mode="bilinear", align_corners=False).round().to(torch.uint8)
    return {"noise": noise, "smooth": smooth}


def relative(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.abs(found - true).max() / np.abs(true).max())


def test_the_names_are_the_published_ones(shared: Path) -> None:
    text = (shared / "reference" / "backbones" / "inception_parameters.json").read_text()
    with torch.device("meta"):
        names = {name: list(value.shape) for name, value in FidInception().state_dict().items()}
    assert names == json.loads(text)


@torch.inference_mode()
def test_every_depth_against_an_independent_implementation(
    network: FidInception, golden: dict[str, np.ndarray]
) -> None:
    network = copy.deepcopy(network)
    seen: dict[str, torch.Tensor] = {}
    for depth, name in DEPTHS.items():
        network.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, depth=depth: seen.update({depth: output.mean((2, 3))})
        )
    for kind, images in inputs().items():
        seen["2048"] = network((inception_tf.PROTOCOL.resize(images) - 128) / 128)
        seen["logits_unbiased"] = seen["2048"] @ network.fc.weight.T
        for depth, found in seen.items():
            assert relative(found.numpy(), golden[f"inception.{kind}.{depth}"]) < 1e-4, (kind, depth)


def test_the_eye_with_folded_weights_gives_the_same_in_any_batch(
    network: FidInception, golden: dict[str, np.ndarray]
) -> None:
    eye = InceptionEye(Identity("inception_tf", "1", "", ""), copy.deepcopy(network), inception_tf.PROTOCOL, CPU)
    frames = np.ascontiguousarray(inputs()["noise"].permute(0, 2, 3, 1).numpy())
    found = eye.frames(frames)
    assert relative(found, golden["inception.noise.2048"]) < 1e-5
    assert relative(eye.frames(frames[2:3]), found[2:3]) < 1e-5


@pytest.mark.parametrize("size", [(360, 641), (100, 180)])
def test_clean_preprocessing_is_pillows_bicubic_on_floats(size: tuple[int, int]) -> None:
    """GaParmar/clean-fid: each channel as a Pillow image of mode F, bicubic, clipped; to 0.01 of 255 grey levels."""
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    channels = [Image.fromarray(frame[..., c].astype(np.float32)) for c in range(3)]
    expected = np.stack([np.asarray(c.resize((299, 299), Image.Resampling.BICUBIC)) for c in channels]).clip(0, 255)
    found = inception.PROTOCOL.resize(torch.from_numpy(frame).permute(2, 0, 1)[None])[0].numpy()
    assert np.abs(found - expected).max() < 0.01


def test_random_weights_say_so() -> None:
    eye = resolve("frames", "random", {}, CPU)
    assert isinstance(eye, FrameEye)
    assert eye.identity.name == "inception random"
    assert "bicubic" in eye.identity.preprocessing
