"""Distortions of videos: stronger is farther, and each does what it says."""

import itertools

import numpy as np
import pytest

from cinetune.ops import video_distortions
from cinetune.ops.video_distortions import KINDS, STRENGTHS

WALL = np.random.default_rng(0).integers(40, 216, (3, 10, 3)).repeat(48, axis=0).repeat(48, axis=1).astype(np.uint8)
PAN = np.stack([WALL[:, 8 * t : 8 * t + 192] for t in range(34)])
"""34 frames of coloured squares that move to the left."""
COUNTED = np.arange(34, dtype=np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, 8, 8, 3), np.uint8)
"""Frame i is all i."""


def made(kind: str, strength: int, frames: np.ndarray, seed: int = 7) -> np.ndarray:
    return KINDS[kind](frames, strength, np.random.default_rng(seed))  # type: ignore[arg-type]


def order(kind: str, strength: int, seed: int = 7) -> list[int]:
    return made(kind, strength, COUNTED, seed)[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_stronger_is_farther_and_the_video_is_left_alone(kind: str) -> None:
    before = PAN.copy()
    farther = [0.0]
    for strength in STRENGTHS:
        frames = made(kind, strength, PAN)
        assert frames.dtype == np.uint8
        assert frames.shape[1:] == PAN.shape[1:]
        assert (frames == made(kind, strength, PAN)).all()
        farther.append(float(np.abs(frames.astype(float) - PAN[: len(frames)]).mean()))
    assert farther == sorted(farther)
    assert len(set(farther)) == 5
    assert (before == PAN).all()


@pytest.mark.parametrize("kind", ["shuffle", "freeze", "drop"])
def test_frame_0_stays(kind: str) -> None:
    assert all(order(kind, strength, seed)[0] == 0 for strength in STRENGTHS for seed in range(5))


def test_shuffle_delays_frames_and_loses_none() -> None:
    """A frame comes at most its reach too late, and what comes too early was overtaken within that reach."""
    jumps = []
    for strength, reach in zip(STRENGTHS, video_distortions.REACH, strict=True):
        orders = [order("shuffle", strength, seed) for seed in range(50)]
        assert all(sorted(shuffled) == list(range(34)) for shuffled in orders)
        assert max(abs(place - i) for shuffled in orders for place, i in enumerate(shuffled)) <= reach
        jumps.append(np.abs(np.diff(orders)).mean())
    assert 1 < jumps[0] < jumps[1] < jumps[2] < jumps[3]


def test_freeze_holds_one_frame_to_the_end() -> None:
    assert order("freeze", 4) == [0, 1, 2, 3, 4, 5, 6, 7, *[7] * 26]
    assert order("freeze", 1)[-8:] == [26] * 8


def test_drop_leaves_out_frames_and_goes_on() -> None:
    """Half the length; the frames that are left keep their order, and the stronger has lost all that the weaker has."""
    kept = [order("drop", strength) for strength in STRENGTHS]
    assert all(len(frames) == 17 and frames == sorted(set(frames)) for frames in kept)
    for weak, strong in itertools.pairwise(kept):
        assert {i for i in strong if i <= weak[-1]} < set(weak)
    assert kept[3][-1] > 25


def test_noise_has_its_deviation() -> None:
    grey = np.full((4, 64, 64, 3), 128, np.uint8)
    assert made("noise", 2, grey).std() == pytest.approx(8, rel=0.02)
    assert made("noise", 2, grey).mean() == pytest.approx(128, abs=0.2)


def test_colour_raises_red_and_lowers_blue() -> None:
    assert made("colour", 2, np.full((1, 2, 2, 3), 100, np.uint8))[0, 0, 0].tolist() == [110, 100, 90]
    assert (made("colour", 4, np.zeros((1, 2, 2, 3), np.uint8)) == 0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_videos(kind: str, frames: int) -> None:
    distorted = made(kind, 4, PAN[:frames])
    assert distorted.shape[0] == (frames // 2 if kind == "drop" else frames)
