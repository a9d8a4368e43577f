"""Still pictures: which files are some, and their pixels."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from cinetune.errors import FootageError

PICTURES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))
_DEEP = ("I", "F")  # Pillow's modes of more than eight bits a channel, by their first letter
_ORIENTATION = 0x0112  # Exif; from 5 on the picture lies on its side

Picture = UInt8[np.ndarray, "h w 3"]


def picture_size(path: Path) -> tuple[int, int]:
    """Return height and width of a still picture the right way up, from its header; pixels.

    Raises:
        FootageError: no such file, not a picture, or moving.
    """
    with _opened(path) as picture:
        across, down = picture.size
        lying = picture.getexif().get(_ORIENTATION, 1) >= 5
        return (across, down) if lying else (down, across)


def read_picture(path: Path) -> Picture:
    """Return a still picture the right way up, as its camera noted; what is transparent is black.

    Raises:
        FootageError: as `picture_size`; damaged, or more than 8 bits a channel.
    """
    with _opened(path) as picture:
        return to_rgb(path, ImageOps.exif_transpose(picture))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    if not path.is_file():
        raise FootageError(f"{path}: no such file; check the path")
    try:
        with Image.open(path) as picture:
            if getattr(picture, "is_animated", False) and picture.format != "MPO":  # two views of a moment
                raise FootageError(f"{path}: a moving picture; convert it to a video such as mp4")
            yield picture
    except (OSError, ValueError, SyntaxError) as error:
        raise FootageError(f"{path}: a damaged picture ({str(error).splitlines()[0]}); copy it again") from None


def to_rgb(path: Path, picture: Image.Image) -> Picture:
    """Return an opened picture's pixels; what is transparent is black.

    Raises:
        FootageError: more than 8 bits a channel.
    """
    if picture.mode.startswith(_DEEP):
        raise FootageError(f"{path}: more than 8 bits a channel ({picture.mode}); convert it to 8 bits first")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        clear = picture.convert("RGBA")
        whole = Image.new("RGB", picture.size)
        whole.paste(clear, mask=clear.getchannel("A"))
        return np.array(whole)
    return np.array(picture.convert("RGB"))
