"""A film as numbered pictures, for grading: PNG of 8 or 16 bits as displayed, or OpenEXR of linear light."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from jaxtyping import UInt16

from cinetune.console import Advance
from cinetune.errors import FootageError
from cinetune.files import folder_aside
from cinetune.footage._video_write import BT709, checked, choose_kind
from cinetune.ops.film_colour import to_light
from cinetune.ops.video import to_shallow

_SRGB, _LINEAR = 13, 8  # H.273, transfer characteristics
_EXR_BLOCK = 16  # lines that ZIP compresses together
# x and y of red, green, blue and white: BT.709-6, items 1.3 and 1.4
_PRIMARIES = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
_CHROMATICITIES = b"chromaticities\0chromaticities\0\x20\0\0\0" + np.array(_PRIMARIES, "<f4").tobytes()
_PNG_OPTIONS = {"pred": "paeth", "compression_level": "6"}


@dataclass(frozen=True)
class FrameKind:
    """One way to store single frames."""

    name: str
    encoder: str
    """FFmpeg's name, as the next; also the files' suffix."""
    pix_fmt: str
    transfer: int
    """H.273's number of the curve."""
    options: dict[str, str]
    values: Callable[[UInt16[np.ndarray, "h w 3"]], np.ndarray]
    """What the picture holds of a frame."""
    finish: Callable[[bytes, int], bytes] = lambda data, height: data
    """What is still to be done to a file, given the picture's height."""


def _named(data: bytes, height: int) -> bytes:
    """Add the attribute `chromaticities` to an OpenEXR file of ZIP blocks, and move its table of blocks on by it.

    Source: "OpenEXR File Layout", openexr.com: magic and version in 8 bytes, attributes (name, type, size, value), a
    zero byte, the place of each block in 8 bytes.
    """
    at = 8
    while data[at]:
        for _ in ("name", "type"):
            at = data.index(0, at) + 1
        at += 4 + int.from_bytes(data[at : at + 4], "little")
    at += 1
    places = np.frombuffer(data, "<u8", -(-height // _EXR_BLOCK), at)
    moved = (places + np.uint64(len(_CHROMATICITIES))).tobytes()
    return data[:8] + _CHROMATICITIES + data[8:at] + moved + data[at + len(moved) :]


KINDS = {
    kind.name: kind
    for kind in (
        FrameKind("png8", "png", "rgb24", _SRGB, _PNG_OPTIONS, to_shallow),
        FrameKind("png16", "png", "rgb48be", _SRGB, _PNG_OPTIONS, np.ascontiguousarray),
        FrameKind(
            "exr", "exr", "gbrpf32le", _LINEAR, {"format": "half", "compression": "zip16"}, to_light, _named
        ),
    )
}  # fmt: skip


def write_frames(
    folder: Path, frames: Iterable[UInt16[np.ndarray, "h w 3"]], kind: str, *, advance: Advance | None = None
) -> int:
    """Write every frame to a file of its own, FOLDER/NAME.000001.png and so on; return how many.

    The folder is whole or absent, and replaces an older one; NAME is its own name.

    Args:
        folder: of this film alone; where it is there, it holds frames of an earlier run and nothing else.
        frames: at least one, all of one size; R'G'B' 0..65535 as displayed, BT.709 primaries.
        kind: "png8" (rounded to the nearest level) and "png16" (every value as it is) hold the frames as displayed and
            are tagged sRGB. "exr" holds linear light 0..1 in half floats, which is the frames through the sRGB curve
            (IEC 61966-2-1), compressed by ZIP, with the chromaticities of BT.709: grading programs open it as linear
            Rec.709. Its 11 significant bits are off by 10 of 65535 at most, in the lights.
        advance: is told of every frame written.

    Raises:
        FootageError: no such kind, no frames, frames of different size or not of 16 bits, other files in the folder,
            or this PyAV lacks the encoder.
        RunError: the folder cannot be written, or the disk is full.
    """
    made = frame_kind(kind)
    _insist_on_frames(folder)
    height, width, source = checked(folder, frames, np.uint16)
    count = 0
    with folder_aside(folder) as aside:
        for count, data in enumerate(_files(source, made, height, width), 1):
            (aside / f"{folder.name}.{count:06}.{made.encoder}").write_bytes(data)
            if advance:
                advance()
    return count


def frame_kind(name: str) -> FrameKind:
    """Return a kind of frame file that this PyAV can write.

    Raises:
        FootageError: no such kind, or PyAV was built without its encoder.
    """
    return choose_kind(name, KINDS, "frame file")


def _insist_on_frames(folder: Path) -> None:
    """Keep what somebody else put into the folder, which is going to be replaced.

    Raises:
        FootageError: naming such a file.
    """
    own = re.compile(rf"{re.escape(folder.name)}\.\d{{6,}}\.({'|'.join(kind.encoder for kind in KINDS.values())})")
    for path in folder.iterdir() if folder.is_dir() else ():
        if not own.fullmatch(path.name):
            raise FootageError(f"{folder}: holds {path.name}, which is no frame of it; name a folder of its own")


def _files(frames: Iterator[np.ndarray], kind: FrameKind, height: int, width: int) -> Iterator[bytes]:
    """Yield the contents of each file."""
    context = CodecContext.create(kind.encoder, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, kind.pix_fmt
    context.time_base = Fraction(1, 24)  # an encoder wants one; no file says it
    context.sample_aspect_ratio = Fraction(1)  # OpenEXR demands the attribute
    context.options = kind.options
    for frame in frames:
        for packet in context.encode(_picture(kind, frame)):
            yield kind.finish(bytes(packet), height)
    for packet in context.encode(None):
        yield kind.finish(bytes(packet), height)


def _picture(kind: FrameKind, frame: UInt16[np.ndarray, "h w 3"]) -> VideoFrame:
    picture = VideoFrame.from_ndarray(kind.values(frame), format=kind.pix_fmt)
    picture.color_primaries, picture.color_trc = BT709, kind.transfer
    return picture
