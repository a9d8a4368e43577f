"""A generate folder in small: twelve held-out clips, three arms, lossless videos."""

from pathlib import Path

import numpy as np
import pytest

from cinetune.footage.procedural import BASE_WORLD, render_clip
from cinetune.footage.video_io import write_video
from cinetune.records import Sample

CLIPS = 12


def degraded(frames: np.ndarray, strength: float, seed: int) -> np.ndarray:
    """Noise on all frames but the first."""
    noise = np.random.default_rng(seed).normal(0, strength, frames.shape)
    noise[0] = 0
    return (frames + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """clips/N.mkv, and base, tuned and static/N.mkv; tuned is nearer to the truth than base."""
    folder = tmp_path_factory.mktemp("run")
    for n in range(CLIPS):
        frames = render_clip(BASE_WORLD[n % 4], seed=n, frames=5).frames[:, ::2, ::2]
        arms = {
            "clips": frames,
            "base": degraded(frames, 30, n),
            "tuned": degraded(frames, 10 + n % 3, 100 + n),
            "static": np.repeat(frames[:1], 5, axis=0),
        }
        for arm, video in arms.items():
            write_video(folder / arm / f"{n:02}.mkv", video, 16.0, lossless=True)
    return folder


@pytest.fixture(scope="session")
def samples() -> list[Sample]:
    return [
        Sample(
            id=f"{arm}-{n}",
            arm=arm,
            source=f"clip-{n}",
            prompt=f"clip {n} in the hills",
            seed=n,
            video=f"{arm}/{n:02}.mkv",
            reference=f"clips/{n:02}.mkv",
            adapter_sha256="",
            steps=4,
            guidance=1.0,
            shift=3.0,
        )
        for arm in ("base", "tuned", "static")
        for n in range(CLIPS)
    ]
