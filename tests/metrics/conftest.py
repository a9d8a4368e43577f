"""Small videos to look at."""

import numpy as np
import pytest

from cinetune.footage.procedural import render_clip
from cinetune.metrics._contract import Item


@pytest.fixture(scope="session")
def clips() -> list[np.ndarray]:
    """Four rendered clips, 5 x 64 x 96."""
    return [render_clip(domain, seed=1, frames=5).frames for domain in ("day", "noir", "scifi", "human")]


@pytest.fixture
def pair(clips: list[np.ndarray]) -> Item:
    """A clip with noise and a still end, and the clip."""
    noise = np.random.default_rng(0).normal(0, 8, clips[0].shape)
    frames = (clips[0] + noise).clip(0, 255).astype(np.uint8)
    frames[-1] = frames[-2]
    return Item(frames, clips[0], "A car drives to the left in the city in bright daylight, static camera.")
