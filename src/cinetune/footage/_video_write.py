"""Videos out: H.264 for people, FFV1 for exactness; and what every writer of frames shares."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from jaxtyping import UInt8

from cinetune.errors import FootageError
from cinetune.files import write_aside

BT709, LIMITED = 1, 1  # H.273: primaries, transfer and matrix share the number; 16..235
THREADS = 4  # fixed, since x264's bytes depend on it
X264_OPTIONS = {"preset": "medium", "mbtree": "0"}
"""mbtree's assembly makes other bytes on every run for pictures below about 256 lines."""
_KEY_EVERY_S = 2.0
_SAME_BYTES = {"fflags": "+bitexact"}  # else Matroska draws a random id for each file


def write_video(
    path: Path,
    frames: Iterable[UInt8[np.ndarray, "h w 3"]],
    fps: float,
    *,
    lossless: bool = False,
    crf: int = 18,
) -> None:
    """Write a video, whole or not at all, one frame at a time.

    Args:
        path: ends in .mp4 (H.264, yuv420p, tagged and converted as BT.709) or, lossless, in .mkv (FFV1, RGB).
        frames: at least one; all of one size, even where H.264 halves the colour.
        fps: frames per second, above 0.
        lossless: every pixel comes back as it was.
        crf: quality of H.264, 0 (best) to 51; 18 looks like the original.

    Raises:
        FootageError: wrong suffix, no frames, frames of different size or not uint8 RGB, odd size, wrong fps or crf.
        RunError: the folder cannot be written, or the disk is full.
    """
    suffix = ".mkv" if lossless else ".mp4"
    if path.suffix.lower() != suffix:
        kind = "lossless (FFV1)" if lossless else "H.264"
        raise FootageError(f"{path}: a {kind} video is written as {suffix}; change the name")
    if not fps > 0 or not 0 <= crf <= 51:
        raise FootageError(f"{path}: fps {fps} and crf {crf}: fps must be above 0, crf 0 to 51")
    height, width, source = checked(path, frames, np.uint8)
    if not lossless and (height % 2 or width % 2):
        raise FootageError(f"{path}: H.264 needs even sizes, not {width}x{height}; crop by one pixel or use lossless")
    rate = Fraction(fps).limit_denominator(1001)

    def add_stream(container: OutputContainer) -> VideoStream:
        if lossless:
            # one key frame after another: any window opens at once
            stream = container.add_stream("ffv1", rate=rate, options={"level": "3", "g": "1"})
            stream.pix_fmt = "bgr0"
        else:
            options = X264_OPTIONS | {"crf": str(crf), "g": key_every(rate)}
            stream = container.add_stream("libx264", rate=rate, options=options)
            stream.pix_fmt = "yuv420p"
            tag_bt709(stream)
        stream.height, stream.width = height, width
        stream.codec_context.thread_count = THREADS
        return stream

    with write_aside(path) as aside:
        mux(aside, source, rate, "matroska" if lossless else "mp4", add_stream, _lossless if lossless else _yuv420p)


def checked(path: Path, frames: Iterable[np.ndarray], dtype: type[Any]) -> tuple[int, int, Iterator[np.ndarray]]:
    """Return height and width of the first frame, and all frames, each of which is looked at when its turn comes.

    Raises:
        FootageError: no frames; and later a frame that is not RGB of `dtype` and of the first one's size.
    """
    source = iter(frames)
    first = next(source, None)
    if first is None:
        raise FootageError(f"{path}: no frames to write; give at least one")
    _check_frame(path, first, first.shape, 0, dtype)

    def looked_at() -> Iterator[np.ndarray]:
        for number, frame in enumerate(chain([first], source)):
            _check_frame(path, frame, first.shape, number, dtype)
            yield frame

    return first.shape[0], first.shape[1], looked_at()


def mux(
    aside: Path,
    frames: Iterable[np.ndarray],
    rate: Fraction,
    muxer: str,
    add_stream: Callable[[OutputContainer], VideoStream],
    picture: Callable[[np.ndarray], VideoFrame],
    options: dict[str, str] | None = None,
) -> int:
    """Encode frames into a container, one at a time; return how many.

    Args:
        aside: the file, of which nobody knows yet.
        rate: frames per second.
        muxer: FFmpeg's name of the container.
        add_stream: adds the stream with its encoder, size and threads.
        picture: a frame as the encoder takes it.
        options: of the muxer.
    """
    number = -1
    with av.open(f"file:{aside}", "w", format=muxer, options=_SAME_BYTES | (options or {})) as container:
        stream = add_stream(container)
        for number, frame in enumerate(frames):
            shown = picture(frame)
            shown.pts, shown.time_base = number, 1 / rate
            container.mux(stream.encode(shown))
        container.mux(stream.encode(None))
    return number + 1


@runtime_checkable
class Kind(Protocol):
    """A form that films, or their frames, are written in."""

    @property
    def encoder(self) -> str:
        """FFmpeg's name."""
        ...


K = TypeVar("K", bound=Kind)


def choose_kind(name: str, kinds: Mapping[str, K], what: str) -> K:
    """Return the kind called `name`, which this PyAV can write.

    Args:
        what: they are kinds of.

    Raises:
        FootageError: no such kind, or PyAV was built without its encoder.
    """
    if name not in kinds:
        raise FootageError(f"{name}: no such kind of {what}; choose one of {', '.join(kinds)}")
    encoder = kinds[name].encoder
    if encoder not in av.codecs_available:
        there = [other for other, its in kinds.items() if its.encoder in av.codecs_available]
        choose = f"choose {' or '.join(there)}, or " if there else ""
        raise FootageError(
            f"{name}: this PyAV was built without the encoder {encoder}; {choose}install PyAV from PyPI, which has it"
        )
    return kinds[name]


def exact_rate(path: Path, fps: float | Fraction) -> Fraction:
    """Return frames per second as a fraction; what lies within 0.005 of n/1.001 is meant as such (23.976, 29.97).

    Raises:
        FootageError: below 0.001 or above 1000, or not a number; naming `path`.
    """
    if not 0.001 <= float(fps) <= 1000:
        raise FootageError(f"{path}: fps {fps}: must be 0.001 to 1000")
    exact = Fraction(fps)
    television = Fraction(round(exact * Fraction(1001, 1000)) * 1000, 1001)
    rate = exact.limit_denominator(1001)
    return television if rate.denominator > 1 and abs(exact - television) < Fraction(1, 200) else rate


def open_encoder(path: Path, stream: VideoStream) -> None:
    """Start the encoder before the first frame.

    Raises:
        FootageError: it refuses the size.
    """
    context = stream.codec_context
    try:
        context.open()
    except av.error.FFmpegError as error:
        raise FootageError(
            f"{path}: {context.name} cannot encode {context.width}x{context.height} ({error.strerror}); "
            "choose another kind or size"
        ) from None


def key_every(rate: Fraction) -> str:
    """Return the number of frames from one key frame to the next, as encoders take it."""
    return str(max(1, round(_KEY_EVERY_S * rate)))


def tag_bt709(stream: VideoStream) -> None:
    """Say in stream and container how the colours are meant."""
    context = stream.codec_context
    context.color_primaries = context.color_trc = context.colorspace = BT709
    context.color_range = LIMITED


def _lossless(frame: UInt8[np.ndarray, "h w 3"]) -> VideoFrame:
    return VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(format="bgr0", threads=1)


def _yuv420p(frame: UInt8[np.ndarray, "h w 3"]) -> VideoFrame:
    return VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, threads=1
    )


def _check_frame(path: Path, frame: np.ndarray, shape: tuple[int, ...], number: int, dtype: type[Any]) -> None:
    """Insist on RGB of the first frame's size.

    Raises:
        FootageError: naming the frame.
    """
    if frame.dtype != dtype or frame.ndim != 3 or frame.shape[2] != 3:
        raise FootageError(
            f"{path}: frame {number} is {frame.dtype} {frame.shape}; frames are {np.dtype(dtype)} (height, width, 3)"
        )
    if frame.shape != shape:
        raise FootageError(f"{path}: frame {number} is {frame.shape}, frame 0 was {shape}; sizes must be equal")
