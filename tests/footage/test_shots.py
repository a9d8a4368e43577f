"""Cuts against films whose cuts are known; colours of shots."""

from pathlib import Path

import numpy as np
import pytest

from cinetune.footage.shots import CutDetector, colour_histogram, read_scan, scan_film, write_scan
from cinetune.footage.video_io import write_video


def scene(
    seed: int, frames: int, speed: float = 1.0, grey: bool = False, height: int = 72, width: int = 96
) -> np.ndarray:
    """A patchwork of colours that pans to the side: every seed another place."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(10, 246, (6, 16, 3), np.uint8)
    if grey:
        patches = np.repeat(patches[..., :1], 3, axis=2)
    wall = np.repeat(np.repeat(patches, height // 6, axis=0), 24, axis=1)
    return np.stack([wall[:, (x := int(n * speed) % (wall.shape[1] - width)) : x + width] for n in range(frames)])


def cuts_of(*shots: np.ndarray) -> list[int]:
    detector = CutDetector()
    for frame in np.concatenate(shots):
        detector.see(np.ascontiguousarray(frame))
    detector.finish()
    return sorted(detector.cuts)


@pytest.mark.parametrize("grey", [False, True])
def test_finds_every_cut_and_no_other(grey: bool) -> None:
    lengths = (20, 7, 33, 12, 4, 25)
    shots = [scene(seed, length, grey=grey) for seed, length in enumerate(lengths)]
    assert cuts_of(*shots) == np.cumsum(lengths)[:-1].tolist()


@pytest.mark.parametrize("lengths", [(1, 20), (2, 20), (20, 1), (20, 2)])
def test_finds_cuts_beside_the_ends(lengths: tuple[int, int]) -> None:
    assert cuts_of(*(scene(seed, length) for seed, length in enumerate(lengths))) == [lengths[0]]


@pytest.mark.parametrize("times", [2, 3])
def test_repeated_frames_are_no_cuts(times: int) -> None:
    """Animation on threes: fast movement in which each picture is shown several times."""
    one, other = scene(1, 12, speed=3), scene(2, 12, speed=3)
    shots = [np.repeat(shot, times, axis=0) for shot in (one, other)]
    assert cuts_of(*shots) == [12 * times]


def test_a_fast_pan_is_no_cut() -> None:
    assert cuts_of(scene(3, 30, speed=20)) == []


def test_no_cut_in_a_fade() -> None:
    """Except where colour first appears out of black, which makes a shot of black frames."""
    fade = scene(4, 30) * np.linspace(0, 1, 30)[:, None, None, None]
    assert set(cuts_of(fade.astype(np.uint8))) <= {1}


def test_one_frame_and_two() -> None:
    assert cuts_of(scene(0, 1)) == []
    assert cuts_of(scene(0, 1), scene(1, 1)) == [1]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_scans_a_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film{suffix}"
    shots = [scene(seed, length) for seed, length in ((1, 25), (2, 15), (1, 20))]
    write_video(path, np.concatenate(shots), 25.0, lossless=suffix == ".mkv")
    told = []
    scan = scan_film(path, advance=lambda n=1, text="": told.append(n))
    np.testing.assert_allclose(scan.spans, [[0, 1], [1, 1.6], [1.6, 2.4]], atol=1e-3)
    assert scan.frame_s == pytest.approx(0.04, abs=1e-3)
    np.testing.assert_allclose(scan.colours.sum(axis=1), 1, atol=1e-4)
    alike = np.minimum(scan.colours[0], scan.colours[2]).sum()
    assert alike > 0.8 > 0.5 > np.minimum(scan.colours[0], scan.colours[1]).sum()
    assert sum(told) == pytest.approx(2.4, abs=1e-3)


def test_known_cuts_count_besides_those_found(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    write_video(path, np.concatenate([scene(1, 25), scene(2, 25)]), 25.0)
    known = [0.0, 0.48, 0.5, 0.98, 1.0, 1.02, 2.0, 7.0]  # the ends, two of a found cut, one twice, one outside
    np.testing.assert_allclose(scan_film(path, known_cuts=known).spans[:, 0], [0, 0.48, 1], atol=1e-3)


def test_scan_is_kept(tmp_path: Path) -> None:
    path, film = tmp_path / "a.safetensors", tmp_path / "film.mp4"
    write_video(film, scene(1, 9), 25.0)
    scan = scan_film(film)
    write_scan(path, scan, "key")
    again = read_scan(path, "key")
    assert again is not None
    np.testing.assert_array_equal(again.spans, scan.spans)
    np.testing.assert_array_equal(again.colours, scan.colours)
    assert again.frame_s == scan.frame_s
    assert read_scan(path, "another key") is None
    assert read_scan(tmp_path / "absent", "key") is None
    path.write_bytes(path.read_bytes()[:40])
    assert read_scan(path, "key") is None


def test_histogram_drifts_little_over_a_bin_edge() -> None:
    """One grey level more moves all pixels into the next bin of 16; the histograms still agree."""
    a, b, c = (colour_histogram([np.full((9, 16, 3), level, np.uint8)]) for level in (76, 78, 200))
    assert np.minimum(a, b).sum() > 0.5
    assert np.minimum(a, c).sum() < 0.01


@pytest.mark.parametrize(
    ("name", "starts"),
    [
        # looked at frame by frame: fade-in, then three cuts; a dissolve that begins at 5.08; a single shot; gestures
        ("film/big_buck_bunny_0_30.webm", [0, 0.375, 11.792, 15.667, 22.958]),
        ("nature/nasa_13013.mp4", [0, 5.08, 8.08]),
        ("film/chaplin.mp4", [0]),
        ("generated/sample_10.gif", [0]),
        ("human/again.mkv", [0]),
    ],
)
@pytest.mark.slow
def test_real_films(shared: Path, name: str, starts: list[float]) -> None:
    np.testing.assert_allclose(scan_film(shared / "footage" / name).spans[:, 0], starts, atol=2e-3)
