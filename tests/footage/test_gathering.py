"""Frames in one array: as they came, never held twice, and refused before memory is full."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cinetune.errors import FootageError
from cinetune.footage import _gathering
from cinetune.footage._gathering import FIRST, gather
from cinetune.footage.video_io import read_video, write_video

FILM = Path("film.mp4")
SIZE = (40, 60, 3)


def frames(count: int) -> Iterator[np.ndarray]:
    for n in range(count):
        yield np.random.default_rng(n).integers(0, 256, SIZE, np.uint8)


@pytest.mark.parametrize("count", [1, FIRST - 1, FIRST, FIRST + 1, FIRST + 2, FIRST + 3, 100])
def test_they_are_as_they_came(count: int) -> None:
    whole = gather(FILM, frames(count))
    assert np.array_equal(whole, np.stack(list(frames(count))))
    assert whole.flags["C_CONTIGUOUS"]
    assert whole.flags["WRITEABLE"]


@pytest.mark.parametrize("count", [60, 500])
def test_they_are_never_held_twice(count: int) -> None:
    """tracemalloc counts what NumPy asks for: at most an eighth more than the frames, and the frame that comes."""
    each = int(np.prod(SIZE))
    tracemalloc.start()
    try:
        whole = gather(FILM, frames(count))
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert whole.nbytes <= held <= whole.nbytes + 100_000
    assert peak <= 1.125 * whole.nbytes + 10 * each + 100_000


def test_a_film_is_gathered_too(tmp_path: Path) -> None:
    film = np.stack(list(frames(FIRST + 5)))
    write_video(tmp_path / "a.mkv", film, 16.0, lossless=True)
    back, fps = read_video(tmp_path / "a.mkv")
    assert np.array_equal(back, film)
    assert fps == 16


def test_no_frames_and_frames_of_two_sizes() -> None:
    with pytest.raises(FootageError, match=r"film\.mp4: holds no frames"):
        gather(FILM, [])
    with pytest.raises(FootageError, match=r"film\.mp4: frame 2 is 60x20, those before it 60x40"):
        gather(FILM, [*frames(2), np.zeros((20, 60, 3), np.uint8)])


def test_what_does_not_fit_is_refused_as_it_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    left = [_gathering.SPARE + 10**6] * 3 + [_gathering.SPARE + 10]
    taken: list[int] = []

    def counted() -> Iterator[np.ndarray]:
        for n, frame in enumerate(frames(100)):
            taken.append(n)
            yield frame

    monkeypatch.setattr(_gathering, "free_memory", lambda: left.pop(0))
    with pytest.raises(FootageError, match=r"film\.mp4: too long: .* of which 1\.0 GiB are left; cut it into clips"):
        gather(FILM, counted())
    assert not left
    assert FIRST < len(taken) < 30


def test_a_system_that_does_not_say_what_is_left_has_a_fixed_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gathering, "free_memory", lambda: None)
    monkeypatch.setattr(_gathering, "LARGEST", 20 * int(np.prod(SIZE)))
    assert len(gather(FILM, frames(20))) == 20
    with pytest.raises(FootageError, match=r"too long: its frames take more than 0\.0 GiB of memory; cut"):
        gather(FILM, frames(21))
