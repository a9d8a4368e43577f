"""Videos out: H.264 for people, FFV1 for exactness."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from jaxtyping import UInt8

from cinetune.errors import FootageError
from cinetune.files import write_aside

_BT709, _LIMITED = 1, 1  # H.273: primaries, transfer and matrix share the number; 16..235
_THREADS = 4  # fixed, since x264's bytes depend on it
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
    source = iter(frames)
    first = next(source, None)
    if first is None:
        raise FootageError(f"{path}: no frames to write; give at least one")
    _check_frame(path, first, first.shape, 0)
    height, width = first.shape[:2]
    if not lossless and (height % 2 or width % 2):
        raise FootageError(f"{path}: H.264 needs even sizes, not {width}x{height}; crop by one pixel or use lossless")
    muxer = "matroska" if lossless else "mp4"
    with write_aside(path) as aside, av.open(f"file:{aside}", "w", format=muxer, options=_SAME_BYTES) as container:
        stream = _add_stream(container, height, width, fps, crf, lossless)
        for number, frame in enumerate(chain([first], source)):
            _check_frame(path, frame, first.shape, number)
            container.mux(stream.encode(_picture(frame, number, fps, lossless)))
        container.mux(stream.encode(None))


def _add_stream(
    container: OutputContainer, height: int, width: int, fps: float, crf: int, lossless: bool
) -> VideoStream:
    rate = Fraction(fps).limit_denominator(1001)
    gap = max(1, round(_KEY_EVERY_S * fps))
    if lossless:
        # one key frame after another: any window opens at once
        stream = container.add_stream("ffv1", rate=rate, options={"level": "3", "g": "1"})
        stream.pix_fmt = "bgr0"
    else:
        # mbtree's assembly makes other bytes on every run for pictures below about 256 lines
        options = {"crf": str(crf), "preset": "medium", "mbtree": "0", "g": str(gap)}
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = _LIMITED
    stream.height, stream.width = height, width
    stream.codec_context.thread_count = _THREADS
    return stream


def _picture(frame: UInt8[np.ndarray, "h w 3"], number: int, fps: float, lossless: bool) -> VideoFrame:
    picture = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    if lossless:
        picture = picture.reformat(format="bgr0", threads=1)
    else:
        picture = picture.reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, threads=1
        )
    picture.pts = number
    picture.time_base = 1 / Fraction(fps).limit_denominator(1001)
    return picture


def _check_frame(path: Path, frame: np.ndarray, shape: tuple[int, ...], number: int) -> None:
    """Insist on uint8 RGB of the first frame's size.

    Raises:
        FootageError: naming the frame.
    """
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise FootageError(
            f"{path}: frame {number} is {frame.dtype} {frame.shape}; frames are uint8 (height, width, 3)"
        )
    if frame.shape != shape:
        raise FootageError(f"{path}: frame {number} is {frame.shape}, frame 0 was {shape}; sizes must be equal")
