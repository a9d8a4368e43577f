"""Short videos in any form: files FFmpeg reads, animated WebP, and folders of numbered pictures.

FFmpeg does not decode animated WebP; Pillow does. A folder is one video where it holds nothing but pictures whose
names differ by a number alone.
"""

import hashlib
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from cinetune.errors import FootageError
from cinetune.files import sha256
from cinetune.footage import films
from cinetune.footage._gathering import gather
from cinetune.footage.pictures import PICTURES, Picture, to_rgb
from cinetune.footage.video_io import read_frames

SUFFIXES = films.SUFFIXES | {".webp"}
"""What counts as a video inside a folder; a file that is named itself may be called anything."""
_NUMBERED = re.compile(r"(.*?)(\d+)")


def read_any(path: Path) -> UInt8[np.ndarray, "f h w 3"]:
    """Return every frame of a short video.

    Raises:
        FootageError: as `video_io.read_frames` and `_gathering.gather`, or a sequence with a gap.
    """
    if path.is_dir():
        frames = _pictures(path)
    elif is_animated_webp(path):
        frames = _webp(path)
    else:
        frames = (frame for _, frame in read_frames(path))
    return gather(path, frames)


def digest(path: Path) -> str:
    """Return the SHA-256 of a video's bytes, of a folder's pictures in their order; 64 hex digits.

    Raises:
        FootageError: no such file, not readable, not a plain file, or a name that is not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise FootageError(f"{shown(path)}: its name is not UTF-8; rename it") from None
    try:
        if path.is_dir():
            return hashlib.sha256("".join(sha256(one) for one in _in_order(path)).encode()).hexdigest()
        if path.exists() and not path.is_file():
            raise FootageError(f"{path}: not a plain file (a pipe or a device); name a video file")
        return sha256(path)
    except FileNotFoundError:
        raise FootageError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise FootageError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None


def shown(path: Path | str) -> str:
    """Return a path as text that any file or terminal takes, bytes that are not UTF-8 escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_sequence(folder: Path) -> bool:
    """Return whether a folder holds nothing but numbered pictures, hidden files aside, and so is one video."""
    inside = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    if not inside or any(entry.suffix.lower() not in PICTURES or entry.is_dir() for entry in inside):
        return False
    parts = [_NUMBERED.fullmatch(entry.stem) for entry in inside]
    kinds = {(part[1], entry.suffix.lower()) if part else None for part, entry in zip(parts, inside, strict=True)}
    return len(kinds) == 1 and None not in kinds and not any(is_animated_webp(entry) for entry in inside)


def is_animated_webp(path: Path) -> bool:
    """Return whether a file begins as an animated WebP does (RFC 9649, section 2.7: VP8X with the animation bit)."""
    try:
        with path.open("rb") as file:
            head = file.read(21)
    except OSError:
        return False  # reading it will say why
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) == 21 and bool(head[20] & 2)


def _webp(path: Path) -> Iterator[Picture]:
    """Yield the frames of an animated WebP; what is transparent is black.

    Raises:
        FootageError: damaged or cut off.
    """
    number = 0
    try:
        with Image.open(path) as picture:
            for number in range(getattr(picture, "n_frames", 1)):
                picture.seek(number)
                yield to_rgb(path, picture)
    except (OSError, EOFError, ValueError, SyntaxError):
        raise FootageError(
            f"{path}: damaged or cut off: readable until frame {number}; copy, download or export it again"
        ) from None


def _pictures(folder: Path) -> Iterator[Picture]:
    """Yield the pictures of a sequence in the order of their numbers.

    Raises:
        FootageError: not a sequence, a number is missing, or a picture cannot be read or has another size.
    """
    first: tuple[int, ...] | None = None
    for path in _in_order(folder):
        try:
            with Image.open(path) as picture:
                frame = to_rgb(path, picture)
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
            raise FootageError(f"{path}: a damaged picture ({str(error).splitlines()[0]}); copy it again") from None
        if first is not None and frame.shape != first:
            own, true = (f"{shape[1]}x{shape[0]}" for shape in (frame.shape, first))
            raise FootageError(f"{path}: {own} in a sequence of {true}; give pictures of one size")
        first = frame.shape
        yield frame


def _in_order(folder: Path) -> list[Path]:
    if not is_sequence(folder):
        raise FootageError(f"{folder}: a folder, but not one of numbered pictures alone; name the videos in it")
    numbered: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        part = _NUMBERED.fullmatch(path.stem)
        if path.name.startswith(".") or part is None:
            continue
        number = int(part[2])
        if number in numbered:
            raise FootageError(f"{folder}: {numbered[number].name} and {path.name} have one number; remove one of them")
        numbered[number] = path
    numbers = sorted(numbered)
    steps = {b - a for a, b in itertools.pairwise(numbers)}
    if len(steps) > 1:
        gap = next(a for a, b in itertools.pairwise(numbers) if b - a != min(steps))
        raise FootageError(f"{folder}: pictures are missing after number {gap}; copy the sequence again")
    return [numbered[number] for number in numbers]
