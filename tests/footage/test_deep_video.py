"""Windows of 16 bits: exactness, and every way such a file can be wrong."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cinetune.errors import FootageError
from cinetune.footage.deep_video import count_deep, load_deep, read_deep, write_deep
from cinetune.footage.video_io import probe, write_video


def noise(frames: int, height: int = 32, width: int = 48) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (frames, height, width, 3), np.uint16)


def every_value() -> np.ndarray:
    """One frame with each of the 65536 values in each channel, in three orders."""
    chance = np.random.default_rng(1)
    channels = [np.arange(65536), chance.permutation(65536), chance.permutation(65536)]
    return np.stack(channels, -1).reshape(1, 256, 256, 3).astype(np.uint16)


@pytest.mark.parametrize("frames", [every_value(), noise(7), noise(3, 33, 47), noise(1, 2, 3)])
def test_every_value_comes_back(tmp_path: Path, frames: np.ndarray) -> None:
    path = tmp_path / "a.mkv"
    assert write_deep(path, iter(frames), 16.0) == len(frames) == count_deep(path)
    assert np.array_equal(load_deep(path), frames)
    first = path.read_bytes()
    write_deep(path, iter(frames), 16.0)
    assert path.read_bytes() == first


@pytest.mark.parametrize("fps", [16.0, Fraction(24000, 1001), 23.976, 59.94, 12.5])
def test_reading_from_any_frame_on(tmp_path: Path, fps: float | Fraction) -> None:
    frames = noise(40, 8, 16)
    write_deep(tmp_path / "a.mkv", iter(frames), fps)
    for first in (0, 1, 17, 38, 39):
        assert np.array_equal(load_deep(tmp_path / "a.mkv", first), frames[first:])
    with pytest.raises(FootageError, match="frames 0 to 39, no frame 40"):
        load_deep(tmp_path / "a.mkv", 40)


def test_other_programs_can_read_it(tmp_path: Path) -> None:
    frames = noise(5)
    write_deep(tmp_path / "a.mkv", iter(frames), 24000 / 1001)
    info = probe(tmp_path / "a.mkv")
    assert (info.height, info.width, info.codec) == (32, 48, "ffv1")
    with av.open(str(tmp_path / "a.mkv")) as container:
        assert container.streams.video[0].average_rate == Fraction(24000, 1001)
        packets = [packet for packet in container.demux(video=0) if packet.size]
        assert len(packets) == 5
        assert all(packet.is_keyframe for packet in packets)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(place: float) -> Callable[[bytes], bytes]:
    def flipped(data: bytes) -> bytes:
        at = int(place * (len(data) - 1))
        return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]

    return flipped


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "cut off"),
        (lambda data: data[:-1], "cut off"),
        (lambda data: data[:20], "cut off"),
        (lambda data: b"", "cut off"),
        (lambda data: data + b"\0", "cut off"),
        (lambda data: data[:1000] + data[1004:], "damaged"),
        (flip(0.0), "damaged"),
        (flip(0.5), "damaged"),  # which FFmpeg would conceal
        (flip(0.95), "damaged"),
        (flip(1.0), "damaged"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    write_deep(tmp_path / "a.mkv", iter(noise(5)), 16.0)
    bad = tmp_path / "bad.mkv"
    bad.write_bytes(damage((tmp_path / "a.mkv").read_bytes()))
    with pytest.raises(FootageError, match=message) as caught:
        next(read_deep(bad))
    assert "bad.mkv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_film_of_16_bits(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mkv", [np.zeros((8, 8, 3), np.uint8)], 16.0, lossless=True)
    with pytest.raises(FootageError, match="not a film of 16 bits"):
        count_deep(tmp_path / "a.mkv")
    with pytest.raises(FootageError, match="no such file"):
        count_deep(tmp_path / "b.mkv")


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    cases = [
        (path, noise(0), 16.0, "no frames"),
        (path, noise(1).astype(np.uint8), 16.0, "frame 0 is uint8 .* frames are uint16"),
        (path, [noise(1)[0], noise(1, 8, 8)[0]], 16.0, "frame 1"),
        (tmp_path / "a.mp4", noise(1), 16.0, "written as .mkv"),
        (path, noise(1, 1, 1), 16.0, "cannot encode 1x1"),
        (path, noise(1), 0.0, "fps 0.0"),
        (path, noise(1), float("nan"), "fps nan"),
    ]
    for target, frames, fps, message in cases:
        with pytest.raises(FootageError, match=message):
            write_deep(target, iter(frames), fps)
    assert list(tmp_path.iterdir()) == []
