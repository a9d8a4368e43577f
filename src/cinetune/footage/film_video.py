"""Finished films: H.264 for everybody, HEVC of 10 bits for screens, ProRes for the edit."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import UInt16

from cinetune.errors import FootageError
from cinetune.files import write_aside
from cinetune.footage._video_write import (
    BT709,
    LIMITED,
    THREADS,
    X264_OPTIONS,
    checked,
    choose_kind,
    exact_rate,
    key_every,
    mux,
    open_encoder,
    tag_bt709,
)
from cinetune.ops.film_colour import to_ycbcr

WORST_CRF = 51
# The pool is there so that wavefronts are on, which changes the bytes; its size does not, the frame threads may.
_X265_PARAMS = f"log-level=error:info=0:pools={THREADS}:frame-threads=2"


@dataclass(frozen=True)
class FilmKind:
    """One way to store a finished film; all are BT.709 of limited range, and tagged so."""

    name: str
    suffix: str
    encoder: str
    """FFmpeg's name, as the next two."""
    pix_fmt: str
    muxer: str
    bits: int
    halves_lines: bool
    """4:2:0; else 4:2:2."""
    crf: int | None
    """Quality unless told, 0 (best) to 51; None where the codec has no such number."""
    options: dict[str, str]
    tag: str = ""
    """The codec's name in the container, where FFmpeg's own choice will not do."""


KINDS = {
    kind.name: kind
    for kind in (
        FilmKind("h264", ".mp4", "libx264", "yuv420p", "mp4", 8, True, 18, X264_OPTIONS),
        FilmKind(
            "hevc10", ".mp4", "libx265", "yuv420p10le", "mp4", 10, True, 18,
            {"preset": "medium", "x265-params": _X265_PARAMS}, tag="hvc1",  # QuickTime does not open hev1
        ),
        FilmKind(
            "prores", ".mov", "prores_ks", "yuv422p10le", "mov", 10, False, None, {"profile": "hq", "vendor": "apl0"},
        ),
    )
}  # fmt: skip


def write_film(
    path: Path, frames: Iterable[UInt16[np.ndarray, "h w 3"]], fps: float | Fraction, *, kind: str,
    crf: int | None = None,
) -> int:  # fmt: skip
    """Write a film, whole or not at all, one frame at a time; return the number of frames.

    Colour goes to Y'CbCr straight from the 16 bits. The 8 bits of H.264 are dithered by a fixed pattern: on a slow
    dark gradient that leaves a fifth of the error of plain rounding, which shows as bands.

    Args:
        path: ends in the kind's suffix.
        frames: at least one, of one even size; R'G'B' 0..65535 as displayed, BT.709 primaries.
        fps: frames per second; 23.976, 29.97 and 59.94 mean 24000/1001 and so on.
        kind: "h264" (.mp4, 4:2:0 of 8 bits), "hevc10" (.mp4, 4:2:0 of 10 bits) or "prores" (.mov, ProRes 422 HQ).
        crf: quality of the first two, 0 (best) to 51; 18 where not given.

    Raises:
        FootageError: no such kind, wrong suffix, fps or crf, odd size, no frames, frames of different size or not of
            16 bits; this PyAV lacks the encoder, or it does not take this size.
        RunError: the folder cannot be written, or the disk is full.
    """
    made = film_kind(kind)
    if path.suffix.lower() != made.suffix:
        raise FootageError(f"{path}: a film of kind {kind} is written as {made.suffix}; change the name")
    rate = exact_rate(path, fps)
    options = made.options | _quality(path, made, crf, rate)
    height, width, source = checked(path, frames, np.uint16)
    if width % 2 or (made.halves_lines and height % 2):
        raise FootageError(f"{path}: {kind} needs even sizes, not {width}x{height}; crop by one pixel")

    def add_stream(container: OutputContainer) -> VideoStream:
        stream = container.add_stream(made.encoder, rate=rate, options=options)
        assert isinstance(stream, VideoStream)
        stream.pix_fmt, stream.height, stream.width = made.pix_fmt, height, width
        stream.codec_context.thread_count = THREADS
        tag_bt709(stream)
        if made.tag:
            stream.codec_context.codec_tag = made.tag
        open_encoder(path, stream)
        return stream

    def picture(frame: UInt16[np.ndarray, "h w 3"]) -> VideoFrame:
        return _picture(frame, made)

    with write_aside(path) as aside:
        return mux(aside, source, rate, made.muxer, add_stream, picture, _whole_ticks(rate))


def film_kind(name: str) -> FilmKind:
    """Return a kind of film that this PyAV can write.

    Raises:
        FootageError: no such kind, or PyAV was built without its encoder.
    """
    return choose_kind(name, KINDS, "film")


def _quality(path: Path, kind: FilmKind, crf: int | None, rate: Fraction) -> dict[str, str]:
    """Return the encoder's options of quality and key frames.

    Raises:
        FootageError: out of range, or not for this kind.
    """
    if kind.crf is None:
        if crf is not None:
            raise FootageError(f"{path}: {kind.name} has one quality; leave crf {crf} out")
        return {}
    chosen = kind.crf if crf is None else crf
    if not 0 <= chosen <= WORST_CRF:
        raise FootageError(f"{path}: crf {crf}: must be 0 (best) to {WORST_CRF}")
    return {"crf": str(chosen), "g": key_every(rate)}


def _whole_ticks(rate: Fraction) -> dict[str, str]:
    """Return options with which the container's clock divides every frame, so that the film's length is exact."""
    return {"movie_timescale": str(rate.numerator * max(1, 1000 // rate.numerator))}


def _picture(frame: UInt16[np.ndarray, "h w 3"], kind: FilmKind) -> VideoFrame:
    height, width = frame.shape[:2]
    picture = VideoFrame(width, height, kind.pix_fmt)
    codes = to_ycbcr(frame, kind.bits, halve_lines=kind.halves_lines, dither=kind.bits == 8)
    for plane, values in zip(picture.planes, codes, strict=True):
        rows = np.frombuffer(plane, values.dtype).reshape(plane.height, -1)  # type: ignore[call-overload]
        rows[:, : plane.width] = values
    # ProRes writes into every frame what the frame itself says
    picture.color_primaries = picture.color_trc = picture.colorspace = BT709
    picture.color_range = LIMITED
    return picture
