"""Windows of a film on disk: every one of 16 bits comes back, and a damaged file is known as such.

FFV1 in Matroska, which players show. FFmpeg reports neither a changed byte nor a missing last frame of it, so the file
ends with a seal of this project: how many frames there are, and the digest of all that is before.
"""

import hashlib
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import UInt16

from cinetune.errors import FootageError
from cinetune.files import sha256, write_aside
from cinetune.footage._video_write import THREADS, checked, exact_rate, mux, open_encoder

_MARK = b"\xec\xacCINETUNE"  # an EBML Void of 44 bytes, which Matroska readers pass over
_SEAL = len(_MARK) + 4 + 32


def write_deep(path: Path, frames: Iterable[UInt16[np.ndarray, "h w 3"]], fps: float | Fraction) -> int:
    """Write frames of 16 bits without loss, whole or not at all, one at a time; return how many.

    Args:
        path: ends in .mkv.
        frames: at least one; all of one size, even or odd.
        fps: frames per second, above 0.

    Raises:
        FootageError: wrong suffix or fps, no frames, frames of different size, too small or not of 16 bits.
        RunError: the folder cannot be written, or the disk is full.
    """
    if path.suffix.lower() != ".mkv":
        raise FootageError(f"{path}: frames of 16 bits are written as .mkv; change the name")
    rate = exact_rate(path, fps)
    height, width, source = checked(path, frames, np.uint16)

    def add_stream(container: OutputContainer) -> VideoStream:
        options = {"level": "3", "g": "1", "slices": str(THREADS)}  # each frame alone: any opens at once
        stream = container.add_stream("ffv1", rate=rate, options=options)
        stream.pix_fmt, stream.height, stream.width = "gbrp16le", height, width
        stream.codec_context.thread_count = THREADS
        open_encoder(path, stream)
        return stream

    with write_aside(path) as aside:
        count = mux(aside, source, rate, "matroska", add_stream, _picture)
        with aside.open("ab") as file:
            file.write(_MARK + count.to_bytes(4, "big"))
        digest = bytes.fromhex(sha256(aside))
        with aside.open("ab") as file:
            file.write(digest)
    return count


def count_deep(path: Path) -> int:
    """Return the number of frames, from the file's last bytes.

    Raises:
        FootageError: no such file, cut off, or not written by `write_deep`.
    """
    if not path.is_file():
        raise FootageError(f"{path}: no such file; check the path")
    with path.open("rb") as file:
        file.seek(-min(_SEAL, path.stat().st_size), 2)
        seal = file.read()
    if not seal.startswith(_MARK) or len(seal) < _SEAL:
        raise FootageError(f"{path}: cut off, or not a film of 16 bits made by this program; make it again")
    return int.from_bytes(seal[len(_MARK) : -32], "big")


def read_deep(path: Path, first: int = 0) -> Iterator[UInt16[np.ndarray, "h w 3"]]:
    """Yield the frames from number `first` on, after the whole file was found undamaged.

    Raises:
        FootageError: as `count_deep`; a byte is not as it was written; fewer frames than `first`.
    """
    count = count_deep(path)
    if not 0 <= first < count:
        raise FootageError(f"{path}: has the frames 0 to {count - 1}, no frame {first}")
    _insist_on_digest(path)
    with av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        assert stream.average_rate is not None
        assert stream.time_base is not None
        if first:
            container.seek(int(first / stream.average_rate / stream.time_base), stream=stream)
        for frame in container.decode(stream):
            assert frame.pts is not None
            if round(frame.pts * stream.time_base * stream.average_rate) >= first:
                yield frame.to_ndarray()


def load_deep(path: Path, first: int = 0) -> UInt16[np.ndarray, "f h w 3"]:
    """Return the frames from number `first` on.

    Raises:
        FootageError: as `read_deep`.
    """
    source = read_deep(path, first)
    frame = next(source)
    frames = np.empty((count_deep(path) - first, *frame.shape), np.uint16)
    frames[0] = frame
    for number, frame in enumerate(source, 1):
        frames[number] = frame
    return frames


def _insist_on_digest(path: Path) -> None:
    """Compare the digest at the end of the file with its bytes.

    Raises:
        FootageError: they differ.
    """
    digest, left = hashlib.sha256(), path.stat().st_size - 32
    with path.open("rb") as file:
        while left and (piece := file.read(min(left, 2**20))):
            digest.update(piece)
            left -= len(piece)
        if file.read() != digest.digest():
            raise FootageError(f"{path}: damaged (its bytes are not those that were written); make it again")


def _picture(frame: UInt16[np.ndarray, "h w 3"]) -> VideoFrame:
    return VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="gbrp16le")
