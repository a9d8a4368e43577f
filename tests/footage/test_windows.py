"""Which windows there are, which frames they hold, how they are scaled."""

from pathlib import Path

import numpy as np
import pytest

from cinetune.footage.video_io import read_window, write_video
from cinetune.footage.windows import (
    BLANK,
    covered,
    cropped,
    cut_windows,
    deviation,
    fit,
    motion,
    plan_windows,
    seconds_needed,
)  # fmt: skip
from cinetune.recipe import Footage, Size


def footage(**changes: float) -> Footage:
    return Footage(**{"frames": 5, "height": 32, "width": 48, "fps": 8.0} | changes)  # type: ignore[arg-type]


def counting_film(path: Path, frames: int, fps: float) -> Path:
    """Frame n is grey level 2n, with a border that survives scaling."""
    film = np.stack([np.full((32, 48, 3), 2 * n, np.uint8) for n in range(frames)])
    write_video(path, film, fps, lossless=True)
    return path


def test_windows_stay_in_their_shot_with_a_frame_to_spare() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        frame_s = 1 / rng.choice([8, 10, 24, 25, 29.97, 60])
        settings = footage(
            frames=int(rng.choice([5, 9, 17])),
            fps=float(rng.choice([8, 16, 24])),
            stride=float(rng.choice([0.25, 0.5, 1, 2])),
        )
        edges = np.concatenate([[0], np.cumsum(np.round(rng.uniform(0.2, 4, 5) / frame_s) * frame_s)])
        spans = np.stack([edges[:-1], edges[1:]], axis=1)
        reach = (settings.frames - 1) / settings.fps
        windows = plan_windows(spans, float(frame_s), settings)
        for window in windows:
            start, end = spans[window.shot]
            first, last = window.shot == 0, window.shot == 4
            assert window.start >= start + (0 if first else frame_s) - 1e-5
            assert window.start + reach <= end - (1 if last else 2) * frame_s + 2e-3
            assert window.end - window.start == pytest.approx(settings.frames / settings.fps, abs=2e-6)
        for shot, (start, end) in enumerate(spans[1:-1], start=1):
            mine = [w.start for w in windows if w.shot == shot]
            assert bool(mine) == (end - start >= seconds_needed(float(frame_s), settings) - 1.6e-3)
            assert np.allclose(np.diff(mine), settings.stride * settings.frames / settings.fps, atol=1e-5)


def test_of_one_frame_there_is_one_window_in_the_middle_of_a_shot() -> None:
    spans = np.array([[0, 2.0], [2.0, 2.25], [2.25, 2.375], [2.375, 3.0]])  # the third is all smeared
    windows = plan_windows(spans, 0.125, Footage(fps=8.0).at(Size(1, 32, 48)))
    assert [(w.shot, w.start) for w in windows] == [(0, 0.875), (3, 2.6875)]


@pytest.mark.parametrize("film_fps", [8.0, 10.0, 16.0, 24.0, 30.0])
def test_frames_are_those_a_viewer_would_see(tmp_path: Path, film_fps: float) -> None:
    """Against video_io's read_window, which decodes each window on its own."""
    path = counting_film(tmp_path / "film.mkv", 60, film_fps)
    settings, span = footage(stride=0.5), (8 / film_fps, 55 / film_fps)
    spans = np.array([[0, span[0]], span, [span[1], 60 / film_fps]])
    windows = [w for w in plan_windows(spans, 1 / film_fps, settings) if w.shot == 1]
    cut = dict(cut_windows(path, span, windows, settings))
    assert list(cut) == windows
    for window, frames in cut.items():
        np.testing.assert_array_equal(frames, read_window(path, start=window.start, frames=5, fps=8.0))
        shown = frames[:, 0, 0, 0] / 2 / film_fps
        wanted = window.start + np.arange(5) / 8
        assert np.all(shown <= wanted + 2e-3)
        assert np.all(wanted - shown < 1 / film_fps + 2e-3)
        assert span[0] < shown[0]
        assert shown[-1] < span[1] - 1 / film_fps + 2e-3


def test_same_rate_repeats_and_skips_nothing(tmp_path: Path) -> None:
    """24 fps in Matroska has times rounded to milliseconds."""
    path = counting_film(tmp_path / "film.mkv", 60, 24.0)
    settings = footage(fps=24.0, frames=9)
    windows = plan_windows(np.array([[0, 1.25], [1.25, 2.5]]), 1 / 24, settings)
    for span, number in (((0.0, 1.25), 0), ((1.25, 2.5), 1)):
        for _, frames in cut_windows(path, span, [w for w in windows if w.shot == number], settings):
            assert np.diff(frames[:, 0, 0, 0].astype(int)).tolist() == [2] * 8


def test_the_last_window_reaches_the_end(tmp_path: Path) -> None:
    path = counting_film(tmp_path / "film.mkv", 9, 8.0)
    settings = footage(stride=0.8)
    windows = plan_windows(np.array([[0, 9 / 8]]), 1 / 8, settings)
    assert [w.start for w in windows] == [0, 0.5]
    last = dict(cut_windows(path, (0.0, 9 / 8), windows, settings))[windows[-1]]
    assert last[:, 0, 0, 0].tolist() == [8, 10, 12, 14, 16]


@pytest.mark.parametrize(
    ("h", "w", "height", "width", "kept", "said"),
    [
        (480, 640, 64, 96, (427, 640), "11 % of the height"),
        (720, 1280, 64, 96, (720, 1080), "16 % of the width"),
        (256, 256, 480, 832, (148, 256), "42 % of the height"),
        (64, 96, 64, 96, (64, 96), ""),
        (1080, 1920, 720, 1280, (1080, 1920), ""),
        (1, 1000, 32, 32, (1, 1), "100 % of the width"),
    ],
)  # fmt: skip
def test_crop(h: int, w: int, height: int, width: int, kept: tuple[int, int], said: str) -> None:
    assert covered(h, w, height, width) == kept
    assert cropped(h, w, height, width) == said
    assert fit(np.zeros((h, w, 3), np.uint8), height, width).shape == (height, width, 3)


def test_crop_is_central_and_scaling_antialiased() -> None:
    frame = np.zeros((40, 120, 3), np.uint8)
    frame[:, 40:80] = 200
    assert (fit(frame, 16, 16) == 200).all()
    stripes = np.zeros((512, 768, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(fit(stripes, 32, 48).astype(int)) <= 1  # one pixel in 16 would give all or nothing
    assert fit(stripes, 32, 48).mean() == pytest.approx(127.5, abs=1)


def test_nothing_is_lost_at_the_right_size() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    np.testing.assert_array_equal(fit(frame, 32, 48), frame)


def test_blank_and_motion() -> None:
    black, noisy = np.zeros((5, 8, 8, 3), np.uint8), np.random.default_rng(0).integers(0, 4, (5, 8, 8, 3), np.uint8)
    assert deviation(black) == 0
    assert deviation(noisy) < BLANK
    steps = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.full((1, 8, 8, 3), 3, np.uint8)
    assert motion(steps) == 3
    assert motion(black) == 0
    flicker = np.stack([np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)] * 2)
    assert motion(flicker) == 255
    assert deviation(flicker) > BLANK
