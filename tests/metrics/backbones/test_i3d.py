"""I3D against piergiaj/pytorch-i3d on the same seeded weights, and what the three protocols of FVD do to a frame."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cinetune.errors import MetricError
from cinetune.metrics.backbones import _i3d, _i3d_eye, i3d, i3d_stylegan_v, i3d_videogpt
from cinetune.metrics.backbones._contract import BatchVideoEye, Identity, VideoEye
from cinetune.metrics.backbones._folding import folded
from cinetune.metrics.backbones._i3d import I3d, SamePool, pad_same
from cinetune.metrics.backbones._i3d_eye import I3dEye, published_name
from cinetune.metrics.backbones._random import randomised
from cinetune.metrics.backbones._resolve import resolve

CPU = torch.device("cpu")
WEIGHTS_SEED, INPUT_SEED = 101, 102
"""Of shared/reference/backbones/README.md."""


@pytest.fixture(scope="module")
def network() -> Iterator[I3d]:
    with torch.inference_mode():
        yield randomised(I3d(), WEIGHTS_SEED)


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, np.ndarray]:
    return dict(np.load(shared / "reference" / "backbones" / "golden.npz"))


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(INPUT_SEED)
    first, second = (rng.uniform(-1, 1, (2, 3, f, 224, 224)).astype(np.float32) for f in (16, 30))
    return torch.from_numpy(first), torch.from_numpy(second)


def relative(found: torch.Tensor, true: np.ndarray) -> float:
    return float(np.abs(found.numpy() - true).max() / np.abs(true).max())


def test_the_names_are_the_published_ones(shared: Path) -> None:
    text = (shared / "reference" / "backbones" / "i3d_parameters.json").read_text()
    with torch.device("meta"):
        names = {name: list(value.shape) for name, value in I3d().state_dict().items()}
    assert names == json.loads(text)


@torch.inference_mode()
def test_16_frames_against_an_independent_implementation(network: I3d, golden: dict[str, np.ndarray]) -> None:
    pooled = network.pooled(inputs()[0])
    assert relative(pooled, golden["i3d.pool.T16"]) < 1e-4
    assert relative(network.logits(pooled).mean((2, 3, 4)), golden["i3d.logits.T16"]) < 1e-4


@pytest.mark.slow
@torch.inference_mode()
def test_30_frames_against_an_independent_implementation(network: I3d, golden: dict[str, np.ndarray]) -> None:
    """15 steps of time after the first layer: every "same" padding in time is on an odd size once."""
    clip = inputs()[1][:1]
    pooled = network.pooled(clip)
    assert relative(pooled, golden["i3d.pool.T30"][:1]) < 1e-4
    assert relative(network(clip), golden["i3d.logits.T30"][:1]) < 1e-4


@torch.inference_mode()
def test_folding_and_memory_layout_change_nothing(network: I3d) -> None:
    clip = inputs()[0][:1, :, :9]
    plain = network(clip)
    fast = folded(copy.deepcopy(network)).to(memory_format=torch.channels_last_3d)
    assert not any("bn" in name for name in fast.state_dict())
    assert relative(fast(clip.contiguous(memory_format=torch.channels_last_3d)), plain.numpy()) < 1e-5


@pytest.mark.parametrize(("size", "kernel", "stride"), [(16, 7, 2), (15, 7, 2), (112, 3, 2), (7, 3, 2), (5, 2, 2)])
def test_same_padding_gives_as_many_places_as_strides_and_favours_the_far_side(
    size: int, kernel: int, stride: int
) -> None:
    """TensorFlow: out = ceil(size / stride), total = (out - 1) * stride + kernel - size, the near side floor(half)."""
    x = torch.ones(1, 1, size, 1, 1)
    padded = pad_same(x, (kernel, 1, 1), (stride, 1, 1)).flatten()
    assert (len(padded) - kernel) // stride + 1 == -(-size // stride)
    near = int(padded.argmax())
    far = len(padded) - size - near
    assert far - near in (0, 1)


@pytest.mark.parametrize(("kernel", "stride"), [((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2))])
def test_pooling_is_that_of_a_padded_copy(kernel: _i3d.Triple, stride: _i3d.Triple) -> None:
    for frames in range(1, 18):
        for side in (7, 14, 15):
            x = torch.rand(1, 2, frames, side, side)
            assert torch.equal(SamePool(kernel, stride)(x), F.max_pool3d(pad_same(x, kernel, stride), kernel, stride))


@torch.inference_mode()
def test_one_clip_alone_is_the_same_and_keeps_its_memory_layout(network: I3d) -> None:
    """A layer that answers with channels first makes all layers after it slower, and does so for a single clip only."""
    last = torch.channels_last_3d
    fast = folded(copy.deepcopy(network)).to(memory_format=last)
    clips = inputs()[0][:, :, :9].contiguous(memory_format=last)
    lost: list[str] = []
    for name, layer in fast.named_children():
        layer.register_forward_hook(
            lambda layer, given, made, name=name: (
                lost.append(name) if not made.is_contiguous(memory_format=last) else None
            )
        )
    alone = fast(clips[:1])
    assert not lost
    assert relative(alone, fast(clips)[:1].numpy()) < 1e-6


@pytest.mark.parametrize("count", [139, 144, 131])
@torch.inference_mode()
def test_a_long_film_in_pieces_is_the_whole_film(network: I3d, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    film = torch.rand(1, 3, count, 32, 32, generator=torch.Generator().manual_seed(count)) * 2 - 1
    longest: list[int] = []

    def prepared(first: int, end: int) -> torch.Tensor:
        longest.append(end - first)
        return film[:, :, first:end]

    monkeypatch.setattr(_i3d, "PIECE", 32)
    whole = network(film)
    assert relative(network.film(count, prepared), whole.numpy()) < 1e-6
    assert len(longest) == -(-count // 32)
    assert max(longest) < 32 + 2 * _i3d.REACH + _i3d.TO_A_STEP
    monkeypatch.setattr(_i3d, "REACH", 24)  # what a step sees beyond its own frames is needed
    assert relative(network.film(count, prepared), whole.numpy()) > 1e-5


# ------------------------------------------------------------------------------------------------ protocols


def frames(f: int, h: int, w: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (f, h, w, 3), np.uint8)


def as_tensor(video: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(video).permute(0, 3, 1, 2)


def test_google_takes_the_corner_of_each_cell_by_hand() -> None:
    """Output row i is at i * h / 224 of the old rows, between its two neighbours; 448 rows are every second one."""
    video = frames(2, 448, 112)
    found = i3d.PROTOCOL.resize(as_tensor(video)).permute(0, 2, 3, 1).numpy()
    rows = video[:, ::2].astype(np.float64)
    expected = np.empty((2, 224, 224, 3))
    expected[:, :, ::2] = rows
    expected[:, :, 1:-1:2] = (rows[:, :, :-1] + rows[:, :, 1:]) / 2
    expected[:, :, -1] = rows[:, :, -1]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_stylegan_v_is_torchs_own_resize() -> None:
    video = frames(2, 90, 130)
    expected = F.interpolate(as_tensor(video).float(), (224, 224), mode="bilinear", align_corners=False)
    assert torch.equal(i3d_stylegan_v.PROTOCOL.resize(as_tensor(video)), expected)


def test_videogpt_keeps_the_aspect_and_crops_the_centre() -> None:
    """A wide frame whose thirds are black, white and black: the crop of the middle is all white."""
    video = np.zeros((1, 224, 672, 3), np.uint8)
    video[:, :, 224:448] = 255
    assert torch.equal(i3d_videogpt.PROTOCOL.resize(as_tensor(video)), torch.full((1, 3, 224, 224), 255.0))
    tall = video.transpose(0, 2, 1, 3)
    assert torch.equal(i3d_videogpt.PROTOCOL.resize(as_tensor(tall)), torch.full((1, 3, 224, 224), 255.0))
    assert i3d_videogpt.PROTOCOL.resize(as_tensor(frames(1, 101, 173))).shape == (1, 3, 224, 224)


def test_frames_of_the_networks_size_are_not_touched_by_any_protocol() -> None:
    video = as_tensor(frames(1, 224, 224))
    for module in (i3d, i3d_stylegan_v, i3d_videogpt):
        np.testing.assert_allclose(module.PROTOCOL.resize(video).numpy(), video.numpy(), atol=1e-4)


# ------------------------------------------------------------------------------------------------- the eye


class FirstPixels(torch.nn.Module):
    """Stands for the network: shows what reaches it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0, :4, 0, :100].flatten(1)


def test_pixels_reach_the_network_in_minus_one_to_one_one_clip_after_the_other() -> None:
    eye = I3dEye(Identity("i3d", "1", "", ""), FirstPixels(), i3d.PROTOCOL, CPU)
    videos = [frames(9, 224, 224, seed) for seed in range(6)]  # more than one batch
    found = eye.videos(videos)
    expected = np.stack([video[:4, 0, :100, 0].reshape(-1) / 127.5 - 1 for video in videos])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(eye.video(videos[4]), found[4])


def test_a_long_video_takes_the_way_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    class Long(I3d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise AssertionError("whole")

        def steps(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :1, ::8, :1, :1].expand(-1, 1024, -1, -1, -1)  # the first pixel of every eighth frame

    monkeypatch.setattr(_i3d, "PIECE", 16)
    monkeypatch.setattr(_i3d_eye, "LONGEST", 20)
    eye = I3dEye(Identity("i3d", "1", "", ""), randomised(Long()), i3d.PROTOCOL, CPU)
    film = frames(203, 20, 30)
    steps = torch.from_numpy(film[::8, 0, 0, 0].astype(np.float32)) / 127.5 - 1
    both = ((steps[1:] + steps[:-1]) / 2).mean()
    weight, bias = eye._network.logits.conv3d.weight, eye._network.logits.conv3d.bias  # type: ignore[union-attr]
    expected = weight.sum((1, 2, 3, 4)) * both + bias  # type: ignore[operator, union-attr]
    np.testing.assert_allclose(eye.video(film), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_too_few_frames_is_said() -> None:
    eye = I3dEye(Identity("i3d", "1", "", ""), FirstPixels(), i3d.PROTOCOL, CPU)
    assert eye.least_frames == 9
    with pytest.raises(MetricError, match="8 frames; i3d needs at least 9"):
        eye.video(frames(8, 20, 20))


def test_random_weights_say_so() -> None:
    eye = resolve("video", "random", {}, CPU)
    assert isinstance(eye, VideoEye)
    assert isinstance(eye, BatchVideoEye)
    assert eye.identity.name == "i3d random"
    assert eye.video(frames(9, 40, 60)).shape == (400,)


# ------------------------------------------------------------------------------- names of other publishers


def test_names_of_the_torchscript_archive_lead_to_the_same_parameters() -> None:
    """hassony2/kinetics_i3d_pytorch src/i3dpt.py: what each of our parameters is called there."""
    branches = {"b0": "branch_0", "b1a": "branch_1.0", "b1b": "branch_1.1", "b2a": "branch_2.0", "b2b": "branch_2.1"}
    with torch.device("meta"):
        names = [name for name in I3d().state_dict() if not name.endswith("num_batches_tracked")]
    for own in names:
        theirs = own.replace(".bn.", ".batch3d.").replace(".b3b.", ".branch_3.1.")
        for ours, other in branches.items():
            theirs = theirs.replace(f".{ours}.", f".{other}.")
        theirs = theirs.replace("logits.", "conv3d_0c_1x1.")
        theirs = theirs[0].lower() + theirs[1:]
        assert theirs != own
        assert published_name(theirs) == own
    assert published_name("mixed_5b.branch_3.1.batch3d.running_var") == "Mixed_5b.b3b.bn.running_var"
