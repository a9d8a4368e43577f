"""Backbones in bf16: near the fp32 ones, named apart, and the default untouched."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cinetune.footage.procedural import render_clip
from cinetune.footage.video_io import write_video
from cinetune.metrics.backbones._contract import BatchVideoEye, ClipEye, FrameEye, PairEye, VideoEye
from cinetune.metrics.backbones._resolve import resolve

CPU = torch.device("cpu")
CLIPS = [render_clip("historical", seed=n, frames=9, height=64, width=96, fps=16.0).frames for n in range(2)]


def seen(role: str, weights: str, precision: str) -> tuple[np.ndarray, str]:
    """What a backbone sees of the first clip (and the second), and what it calls itself."""
    eye = resolve(role, weights, {}, CPU, precision)
    name = str(eye.identity)
    if isinstance(eye, FrameEye):
        return eye.frames(CLIPS[0][:2]), name
    if isinstance(eye, VideoEye):
        return eye.video(CLIPS[0]), name
    if isinstance(eye, ClipEye):
        return np.concatenate([eye.images(CLIPS[0][:2]), eye.text("a lamp")[None]]), name
    assert isinstance(eye, PairEye)
    return eye.distances(CLIPS[0], CLIPS[1]), name


@pytest.mark.parametrize(
    ("role", "weights"),
    [
        ("frames", "nano"), ("video", "nano"), ("clip", "nano"), ("lpips", "nano"), ("dists", "nano"),
        ("frames_tf", "random"), ("video_stylegan_v", "random"),
    ],
)  # fmt: skip
def test_bf16_is_near_fp32_and_says_what_it_is(role: str, weights: str) -> None:
    exact, name = seen(role, weights, "fp32")
    rounded, other = seen(role, weights, "bf16")
    assert rounded.dtype == exact.dtype == np.float32
    apart = np.linalg.norm(rounded - exact) / np.linalg.norm(exact)
    assert 0 < apart < 0.03, apart
    assert "bf16" not in name
    assert "in bf16 (sha256" in other
    again, _ = seen(role, weights, "fp32")
    assert np.array_equal(again, exact), "one in bf16 leaves the others alone"


def test_it_is_still_the_eye_it_was() -> None:
    for role, kind in (("video_stylegan_v", BatchVideoEye), ("clip", ClipEye), ("lpips", PairEye)):
        weights = "random" if role.startswith("video") else "nano"
        assert isinstance(resolve(role, weights, {}, CPU, "bf16"), kind)


def test_an_evaluation_keeps_the_two_apart(tmp_path: Path) -> None:
    """Stored features of one are not taken for the other's, and results name the network with its precision."""
    from cinetune.evaluate.evaluator import measure
    from cinetune.evaluate.inputs import assemble
    from cinetune.recipe import Evaluate

    for arm, order in (("own", (0, 1)), ("real", (1, 0))):
        for name, n in zip("ab", order, strict=True):
            write_video(tmp_path / arm / f"{name}.mkv", iter(CLIPS[n]), 16.0, lossless=True)
    videos = assemble(
        {"own": sorted((tmp_path / "own").iterdir())}, sorted((tmp_path / "real").iterdir()), prompts={}, static=False
    )
    values, networks = [], []
    for precision in ("fp32", "bf16", "fp32"):
        section = Evaluate.model_validate({"metrics": ("lpips",), "precision": precision})
        (result, *_) = measure(
            videos, section, seed=0, out=tmp_path / "out" / precision, cache=tmp_path / "store"
        ).results
        values.append(result.estimate)
        networks.append(result.backbone)
    assert values[0] == values[2] != values[1]
    assert values[1] == pytest.approx(values[0], rel=0.03)
    assert ["bf16" in str(network) for network in networks] == [False, True, False]
