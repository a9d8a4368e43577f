"""A film-maker's stills, brought to the size of the video: cropped to its shape, never stretched, and said.

Values are display-referred R'G'B' of 16 bits, 0..65535, as all frames between the parts of generation.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Shaped, UInt16
from PIL import Image, ImageCms, ImageDraw, ImageOps

from cinetune import console
from cinetune.errors import FootageError
from cinetune.files import write_aside
from cinetune.footage.pictures import picture_size, to_rgb

Picture = UInt16[np.ndarray, "h w 3"]
FULL = 65535
BLACK = "what is transparent was made black"
_EIGHT_TO_SIXTEEN = 257  # 255 becomes 65535
_PNG_DEPTH = 24  # bytes before the bits a channel (PNG specification, IHDR)
_TIFF_DEPTH = 258  # the tag BitsPerSample
_ORIENTATION = 0x0112  # Exif
_TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}
"""Exif orientation to quarter turns to the left, and whether the result is mirrored from left to right."""
_SHOWN = 640  # pixels of the longer side of a drawn crop


@dataclass(frozen=True)
class Still:
    """A picture as it lies on disk, the right way up."""

    pixels: Picture
    remarks: tuple[str, ...] = ()
    """Choices made in reading it."""


@dataclass(frozen=True)
class Kept:
    """The rectangle of a picture that is kept; pixels."""

    top: int
    left: int
    height: int
    width: int


def read_still(path: Path) -> Still:
    """Read a picture: PNG of 8 or 16 bits, JPEG, and whatever else Pillow reads in 8 bits; grey, colours or CMYK.

    What is transparent becomes black, as in training. Of 8 bits a colour profile is converted to sRGB.

    Raises:
        FootageError: no such file, damaged, moving, or more than 8 bits a channel in anything but PNG.
    """
    picture_size(path)
    try:
        with Image.open(path) as picture:
            picture.load()
            if picture.format == "PNG" and _png_depth(path) == 16:
                return _deep(path, picture)
            if picture.format == "TIFF" and max(picture.tag_v2.get(_TIFF_DEPTH, (8,))) > 8:  # type: ignore[attr-defined]
                raise FootageError(f"{path}: a TIFF of more than 8 bits a channel; save it as a PNG of 16 bits")
            return _eight_bits(path, ImageOps.exif_transpose(picture))
    except (OSError, ValueError, SyntaxError) as error:
        raise FootageError(f"{path}: a damaged picture ({str(error).splitlines()[0]}); copy it again") from None


def fit_still(path: Path, height: int, width: int) -> UInt16[np.ndarray, "height width 3"]:
    """Read a picture and return it at height x width; one note says what was cut off and chosen on the way.

    A picture of another shape is cropped to its centre. Then a Lanczos filter (three lobes, widened where the picture
    gets smaller) resizes it; one of the right size keeps every value.

    Raises:
        FootageError: as `read_still`.
    """
    still = read_still(path)
    h, w, _ = still.pixels.shape
    kept = kept_of(h, w, height, width)
    said = list(still.remarks)
    if (kept.height, kept.width) != (h, w):
        lost = 1 - kept.height * kept.width / (h * w)
        said.insert(0, f"{h}x{w} (height x width) has another shape than {height}x{width}: kept the centre, rows "
                       f"{kept.top} to {kept.top + kept.height} and columns {kept.left} to {kept.left + kept.width}, "
                       f"{lost:.1%} of the picture is cut off")  # fmt: skip
    if kept.height < height:
        said.append(f"enlarged {height / kept.height:.2g} times, so it will be soft")
    if said:
        console.note(f"{path}: {'; '.join(said)}")
    inner = still.pixels[kept.top : kept.top + kept.height, kept.left : kept.left + kept.width]
    if inner.shape[:2] == (height, width):
        return inner
    planes = [
        np.asarray(Image.fromarray(inner[..., c].astype(np.float32)).resize((width, height), Image.Resampling.LANCZOS))
        for c in range(3)
    ]
    return np.stack(planes, axis=-1).round().clip(0, FULL).astype(np.uint16)


def kept_of(h: int, w: int, height: int, width: int) -> Kept:
    """Return the largest rectangle of the shape height x width in the middle of a picture of h x w, to whole pixels."""
    down, across = h, w
    if w * height > h * width:
        across = max(1, round(h * width / height))
    else:
        down = max(1, round(w * height / width))
    return Kept((h - down) // 2, (w - across) // 2, down, across)


def show_crop(path: Path, height: int, width: int, out: Path) -> bool:
    """Write a small PNG of the whole picture: what `fit_still` keeps is framed, the rest is dark.

    Nothing is written where nothing is cut off; returns whether something is.

    Raises:
        FootageError: as `read_still`.
        RunError: `out` cannot be written.
    """
    pixels = read_still(path).pixels
    h, w, _ = pixels.shape
    kept = kept_of(h, w, height, width)
    if (kept.height, kept.width) == (h, w):
        return False
    scale = min(1.0, _SHOWN / max(h, w))
    small = Image.fromarray((pixels // _EIGHT_TO_SIXTEEN).astype(np.uint8)).resize(
        (max(1, round(w * scale)), max(1, round(h * scale))), Image.Resampling.LANCZOS
    )
    left, top = round(kept.left * scale), round(kept.top * scale)
    right = min(small.width, round((kept.left + kept.width) * scale))
    bottom = min(small.height, round((kept.top + kept.height) * scale))
    shown = Image.blend(small, Image.new("RGB", small.size), 0.7)
    shown.paste(small.crop((left, top, right, bottom)), (left, top))
    ImageDraw.Draw(shown).rectangle((left, top, right - 1, bottom - 1), outline=(255, 200, 0), width=2)
    with write_aside(out) as aside:
        shown.save(aside, format="PNG")
    return True


def _png_depth(path: Path) -> int:
    with path.open("rb") as file:
        return file.read(_PNG_DEPTH + 1)[_PNG_DEPTH]


def _deep(path: Path, picture: Image.Image) -> Still:
    """A PNG of 16 bits, of which Pillow keeps eight."""
    read = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if read is None or read.dtype != np.uint16:
        raise FootageError(f"{path}: a PNG of 16 bits that cannot be read; save it again without an alpha channel")
    raw: Shaped[np.ndarray, "h w c"] = np.atleast_3d(read)
    pixels = np.repeat(raw[..., :1], 3, axis=2) if raw.shape[2] < 3 else raw[..., 2::-1]
    remarks = []
    if raw.shape[2] in (2, 4) and (raw[..., -1] < FULL).any():
        pixels = (pixels * (raw[..., -1:] / FULL)).round()
        remarks.append(BLACK)
    name = _profile_name(picture)
    if name:
        remarks.append(f"its colour profile ({name}) was left aside, export 16 bits as sRGB")
    turns, mirrored = _TURNS.get(picture.getexif().get(_ORIENTATION, 1), (0, False))
    pixels = np.rot90(pixels, turns)
    upright = pixels[:, ::-1] if mirrored else pixels
    return Still(np.ascontiguousarray(upright, dtype=np.uint16), tuple(remarks))


def _eight_bits(path: Path, picture: Image.Image) -> Still:
    remarks = []
    name = _profile_name(picture)
    # Pillow converts CMYK and grey to RGB without their profile, so these are converted from what they are.
    direct = picture if picture.mode in ("CMYK", "L") else Image.fromarray(to_rgb(path, picture))
    pixels = np.asarray(direct.convert("RGB"))
    if name:
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
            converted = ImageCms.profileToProfile(direct, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            remarks.append(f"its colour profile ({name}) does not fit it and was left aside")
        else:
            pixels = np.asarray(converted)
            remarks.append(f"colours converted from {name} to sRGB")
    elif picture.mode == "CMYK":
        remarks.append("CMYK without a profile, so its colours are a guess; export it as sRGB")
    if picture.has_transparency_data and np.asarray(picture.convert("RGBA"))[..., 3].min() < 255:
        remarks.append(BLACK)
    return Still(pixels.astype(np.uint16) * np.uint16(_EIGHT_TO_SIXTEEN), tuple(remarks))


def _profile_name(picture: Image.Image) -> str:
    """The name of a profile whose colours are not those of video already; else "" (sRGB, Rec.709, or none)."""
    data = picture.info.get("icc_profile")
    if not data:
        return ""
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(data))).strip() or "unnamed"
    except (ImageCms.PyCMSError, OSError):
        return "unreadable"
    return "" if "srgb" in name.lower() or "709" in name else name
