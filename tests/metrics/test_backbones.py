"""The networks that metrics look through: what they are, what they compute, and how loading fails."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPModel, CLIPVisionModel

from cinetune.errors import MetricError, WeightsError
from cinetune.files import sha256
from cinetune.metrics.backbones import (
    _weights,
    lpips_alex,
    lpips_squeeze,
    nano_clip,
    nano_frames,
    nano_lpips,
    nano_video,
)
from cinetune.metrics.backbones._lpips_form import LpipsDistance
from cinetune.metrics.backbones._resolve import backbone, resolve

CPU = torch.device("cpu")
NANO = {"frames": "nano_frames", "video": "nano_video", "clip": "nano_clip", "lpips": "nano_lpips"}


@pytest.mark.parametrize("role", NANO)
def test_a_loaded_backbone_says_what_it_is(role: str) -> None:
    eye = resolve(role, "nano", {}, CPU)
    assert eye.identity.name == NANO[role]
    assert str(eye.identity).startswith(f"{NANO[role]} 1 (sha256 {eye.identity.sha256[:12]})")
    assert backbone(NANO[role]).kind
    assert backbone(NANO[role]).licence


def test_the_sha256_is_that_of_the_file() -> None:
    assert nano_frames.load().identity.sha256 == sha256(_weights.shipped("nano_frames.safetensors"))


def test_all_four_weigh_at_most_3_megabytes() -> None:
    folder = _weights.shipped("")
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 3e6


def test_features_have_their_size_and_do_not_depend_on_the_batch(clips: list[np.ndarray]) -> None:
    eye = nano_frames.load()
    frames = np.concatenate([clips[0]] * 7)  # 35, more than one batch
    together = eye.frames(frames)
    assert together.shape == (35, 96)
    np.testing.assert_allclose(together[:1], eye.frames(frames[:1]), rtol=1e-4, atol=1e-5)
    assert nano_video.load().video(clips[0]).shape == (64,)
    assert nano_video.load().video(clips[0][:1]).shape == (64,)


def test_frames_of_another_size_are_brought_to_the_networks_size(clips: list[np.ndarray]) -> None:
    """A frame enlarged three times looks nearly as it did; another scene does not."""
    large = clips[0].repeat(3, axis=1).repeat(3, axis=2)
    small, same, other = (nano_frames.load().frames(f).mean(0) for f in (clips[0], large, clips[1]))
    assert np.linalg.norm(same - small) < 0.3 * np.linalg.norm(other - small)


def test_nano_clip_is_a_real_clip_model() -> None:
    folder = _weights.shipped("nano_clip")
    whole = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    tower = CLIPVisionModel.from_pretrained(folder, dtype=torch.float32).eval()
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(tower(pixels).pooler_output, whole.vision_model(pixels).pooler_output)
        assert tower(pixels, output_hidden_states=True).hidden_states[-2].shape == (1, 65, 96)


def test_nano_clip_reads_any_text_and_ends_where_it_ends(clips: list[np.ndarray]) -> None:
    eye = nano_clip.load()
    assert eye.images(clips[0]).shape == (5, 64)
    for caption in ("A car drives to the left.", "Žluťoučký kůň 漢字 :-)", "word " * 500, "x"):
        assert np.isfinite(eye.text(caption)).all()
    one, same, other = (eye.text(c) for c in ("A car at night.", "a CAR at  night.", "A car by day."))
    np.testing.assert_allclose(one, same, rtol=1e-5)
    assert np.abs(one - other).max() > 1e-3


# ---------------------------------------------------------------------------------------------- LPIPS


class Doubling(nn.Module):
    """One map: the image itself, twice."""

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [torch.cat([x, x], dim=1)]


def test_lpips_form_by_hand() -> None:
    """Channels to unit length, squared difference, weights, mean over space."""
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.uniform(-1, 1, (2, 3, 4, 5)).astype(np.float32)) for _ in range(2))
    network = LpipsDistance(Doubling(), [6])
    with torch.no_grad():
        network.heads[0].copy_(torch.arange(6.0))
    unit = [
        np.concatenate([x, x], 1) / np.linalg.norm(np.concatenate([x, x], 1), axis=1, keepdims=True) for x in (a, b)
    ]
    expected = ((unit[0] - unit[1]) ** 2 * np.arange(6.0).reshape(1, 6, 1, 1)).sum(1).mean((1, 2))
    np.testing.assert_allclose(network(a, b).detach().numpy(), expected, rtol=1e-5)


def test_lpips_refuses_pixels_that_are_not_in_range() -> None:
    network = nano_lpips.network()
    with pytest.raises(ValueError, match=r"-1\.\.1"):
        network(torch.full((1, 3, 16, 16), 200.0), torch.zeros(1, 3, 16, 16))


def test_nano_lpips_heads_are_not_negative_and_noise_counts(clips: list[np.ndarray]) -> None:
    eye = nano_lpips.load()
    assert all((head >= 0).all() for head in eye.network.heads)
    assert (eye.distances(clips[0], clips[0]) == 0).all()
    rng = np.random.default_rng(1)
    mild, strong = (np.clip(clips[0] + rng.normal(0, s, clips[0].shape), 0, 255).astype(np.uint8) for s in (6, 25))
    assert (eye.distances(clips[0], strong) > eye.distances(clips[0], mild)).all()


def test_published_lpips_gives_the_published_values(shared: Path) -> None:
    """0.722 and 0.138: richzhang/PerceptualSimilarity, test_network.py (issue 120)."""
    ref, p0, p1 = (
        np.asarray(Image.open(shared / "reference" / f"ex_{name}.png").convert("RGB"))[None]
        for name in ("ref", "p0", "p1")
    )
    alex = lpips_alex.load(shared / "weights" / "lpips")
    assert alex.distances(ref, p0)[0] == pytest.approx(0.7218807, abs=1e-5)
    assert alex.distances(ref, p1)[0] == pytest.approx(0.1375656, abs=1e-5)
    squeeze = lpips_squeeze.load(shared / "weights" / "lpips")
    assert squeeze.distances(ref, p0)[0] > 4 * squeeze.distances(ref, p1)[0] > 0.4
    assert squeeze.distances(ref, ref)[0] == 0


# ------------------------------------------------------------------------------------- how loading fails


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_missing_damaged_and_foreign_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as error:
        nano_frames.load(tmp_path / "none.safetensors")
    assert "none.safetensors" in one_line(error)

    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(_weights.shipped("nano_frames.safetensors").read_bytes()[:5000])
    with pytest.raises(WeightsError, match="damaged") as error:
        nano_frames.load(cut)
    one_line(error)

    with pytest.raises(WeightsError, match="does not fit NanoTrunk") as error:
        nano_frames.load(_weights.shipped("nano_video.safetensors"))
    one_line(error)

    wrong = load_file(_weights.shipped("nano_frames.safetensors"))
    name = next(iter(wrong))
    wrong[name] = torch.zeros(1)
    save_file(wrong, tmp_path / "wrong.safetensors")
    with pytest.raises(WeightsError, match=name) as error:
        nano_frames.load(tmp_path / "wrong.safetensors")
    one_line(error)


def test_a_clip_folder_that_is_not_whole(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no config\.json") as error:
        nano_clip.load(tmp_path)
    one_line(error)
    for file in _weights.shipped("nano_clip").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(WeightsError, match="damaged CLIP folder") as error:
        nano_clip.load(tmp_path)
    one_line(error)


def test_published_weights_are_never_replaced_by_others(tmp_path: Path) -> None:
    with pytest.raises(MetricError, match="lpips_squeeze needs the path") as error:
        resolve("lpips_squeeze", "published", {}, CPU)
    one_line(error)
    with pytest.raises(WeightsError, match=r"none\.pt: no such weights") as error:
        resolve("video", "published", {"i3d": tmp_path / "none.pt"}, CPU)
    one_line(error)
    with pytest.raises(WeightsError, match=r"alexnet_features\.safetensors") as error:
        resolve("lpips", "published", {"lpips_alex": tmp_path}, CPU)
    one_line(error)
