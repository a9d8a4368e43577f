"""Stills: every value kept where nothing must change, cropped and never stretched where the shape differs, and said."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from jaxtyping import Float
from PIL import Image, ImageCms

from cinetune.errors import FootageError
from cinetune.generate.pictures import Kept, fit_still, kept_of, read_still, show_crop

RNG = np.random.default_rng(0)
EIGHT = RNG.integers(0, 256, (32, 48, 3), np.uint8)
DEEP = RNG.integers(0, 65536, (32, 48, 3), np.uint16)


def write_deep(path: Path, pixels: np.ndarray, orientation: int | None = None) -> None:
    """A PNG of 16 bits, by an encoder that is not Pillow's, with an Exif chunk after its header."""
    bgr = pixels if pixels.ndim == 2 else np.concatenate([pixels[..., 2::-1], pixels[..., 3:]], axis=2)
    data = cv2.imencode(".png", bgr)[1].tobytes()
    if orientation is not None:
        tiff = b"MM\x00*\x00\x00\x00\x08\x00\x01" + struct.pack(">HHIHHI", 0x0112, 3, 1, orientation, 0, 0)
        chunk = b"eXIf" + tiff
        data = data[:33] + struct.pack(">I", len(tiff)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    path.write_bytes(data)


def test_eight_bits_keep_their_values(tmp_path: Path) -> None:
    Image.fromarray(EIGHT).save(tmp_path / "a.png")
    np.testing.assert_array_equal(fit_still(tmp_path / "a.png", 32, 48), EIGHT.astype(np.uint16) * 257)
    assert read_still(tmp_path / "a.png").remarks == ()


def test_sixteen_bits_keep_their_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_deep(tmp_path / "a.png", DEEP)
    np.testing.assert_array_equal(fit_still(tmp_path / "a.png", 32, 48), DEEP)
    write_deep(tmp_path / "grey.png", DEEP[..., 0])
    np.testing.assert_array_equal(fit_still(tmp_path / "grey.png", 32, 48), np.repeat(DEEP[..., :1], 3, axis=2))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_right_way_up(tmp_path: Path, orientation: int) -> None:
    """All eight of Exif: 16 bits, turned here, against 8 bits, turned by Pillow."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(EIGHT).save(tmp_path / "a.png", exif=exif)
    write_deep(tmp_path / "deep.png", EIGHT.astype(np.uint16) * 257, orientation)
    shallow, deep = read_still(tmp_path / "a.png"), read_still(tmp_path / "deep.png")
    assert shallow.pixels.shape == ((32, 48, 3) if orientation < 5 else (48, 32, 3))
    np.testing.assert_array_equal(deep.pixels, shallow.pixels)


def test_a_photograph(tmp_path: Path) -> None:
    """JPEG, on its side, in colour and in grey."""
    exif = Image.Exif()
    exif[0x0112] = 6
    smooth = np.tile(np.linspace(0, 255, 48, dtype=np.uint8)[None, :, None], (32, 1, 3))
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95, exif=exif)
    read = read_still(tmp_path / "a.jpg").pixels
    assert read.shape == (48, 32, 3)
    assert np.abs(read / 257 - np.rot90(smooth, 3)).max() <= 3
    Image.fromarray(smooth[..., 0]).save(tmp_path / "grey.jpg", quality=95)
    grey = read_still(tmp_path / "grey.jpg").pixels
    assert (grey == grey[..., :1]).all()
    assert np.abs(grey / 257 - smooth).max() <= 3


@pytest.mark.parametrize(
    ("size", "target", "kept"),
    [
        ((480, 832), (480, 832), Kept(0, 0, 480, 832)),
        ((1080, 1920), (480, 832), Kept(0, 24, 1080, 1872)),  # 1080 * 832 / 480 = 1872
        ((1000, 1000), (480, 832), Kept(211, 0, 577, 1000)),  # 1000 * 480 / 832 = 576.9
        ((1920, 1080), (480, 832), Kept(648, 0, 623, 1080)),
        ((240, 416), (480, 832), Kept(0, 0, 240, 416)),
        ((1, 100), (832, 32), Kept(0, 49, 1, 1)),
    ],
)
def test_the_largest_rectangle_of_that_shape(size: tuple[int, int], target: tuple[int, int], kept: Kept) -> None:
    assert kept_of(*size, *target) == kept


def lanczos(inner: int, outer: int) -> Float[np.ndarray, "outer inner"]:
    """Weights of a Lanczos filter of three lobes, as wide as the larger of a pixel before and after."""
    scale = inner / outer
    wide = max(scale, 1)
    x = (np.arange(inner)[None] + 0.5 - (np.arange(outer)[:, None] + 0.5) * scale) / wide
    weights = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("target", [(16, 32), (64, 128), (24, 24)])
def test_resized_by_a_lanczos_filter_of_the_crop(tmp_path: Path, target: tuple[int, int]) -> None:
    """Against the definition, in all 16 bits; nothing outside the crop bleeds into it."""
    write_deep(tmp_path / "a.png", DEEP)
    kept = kept_of(32, 48, *target)
    crop = DEEP[kept.top : kept.top + kept.height, kept.left : kept.left + kept.width].astype(np.float64)
    down, across = lanczos(kept.height, target[0]), lanczos(kept.width, target[1])
    wanted = np.einsum("ai,bj,ijc->abc", down, across, crop).clip(0, 65535)
    assert np.abs(fit_still(tmp_path / "a.png", *target) - wanted).max() <= 1


def test_a_crop_is_said_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A circle stays a circle, and the note has the figures."""
    tall, wide = np.mgrid[:1080, :1920]
    disc = (((tall - 540) ** 2 + (wide - 960) ** 2 < 300**2) * 255).astype(np.uint8)
    path = tmp_path / "quay.png"
    Image.fromarray(np.repeat(disc[..., None], 3, axis=2)).save(path)
    made = fit_still(path, 480, 832)[..., 1] > 32767
    rows, columns = np.flatnonzero(made.any(axis=1)), np.flatnonzero(made.any(axis=0))
    assert abs(len(rows) - 600 * 480 / 1080) <= 1
    assert abs(len(columns) - len(rows)) <= 1
    note = capsys.readouterr().err
    assert note == (
        f"{path}: 1080x1920 (height x width) has another shape than 480x832: kept the centre, rows 0 to 1080 and "
        "columns 24 to 1896, 2.5% of the picture is cut off\n"
    )
    page = (Path(__file__).parents[2] / "docs" / "storyboard.md").read_text(encoding="utf-8")
    assert note.replace(f"{tmp_path}/", "") in page

    show_crop(path, 480, 832, tmp_path / "crops" / "quay.png")
    shown = np.asarray(Image.open(tmp_path / "crops" / "quay.png")).astype(int)
    assert shown.shape == (360, 640, 3)
    np.testing.assert_array_equal(shown[180, 8], (255, 200, 0))  # the frame, at column 24 / 3
    np.testing.assert_array_equal(shown[180, 631], (255, 200, 0))
    assert shown[180, 320].tolist() == [255, 255, 255]


def test_what_is_outside_the_crop_is_dark(tmp_path: Path) -> None:
    Image.new("RGB", (300, 100), (200, 200, 200)).save(tmp_path / "a.png")
    show_crop(tmp_path / "a.png", 64, 64, tmp_path / "crop.png")
    assert not show_crop(tmp_path / "a.png", 32, 96, tmp_path / "whole.png")
    assert not (tmp_path / "whole.png").exists()
    shown = np.asarray(Image.open(tmp_path / "crop.png"))
    assert shown[50, 50].tolist() == [60, 60, 60]
    assert shown[50, 150].tolist() == [200, 200, 200]


def test_enlarging_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(EIGHT).save(tmp_path / "a.png")
    fit_still(tmp_path / "a.png", 64, 96)
    assert "enlarged 2 times, so it will be soft\n" in capsys.readouterr().err
    fit_still(tmp_path / "a.png", 16, 24)
    assert capsys.readouterr().err == ""


def test_what_is_transparent_is_black(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clear = np.full((32, 48, 1), 255, np.uint8)
    Image.fromarray(np.concatenate([EIGHT, clear], axis=2)).save(tmp_path / "opaque.png")
    fit_still(tmp_path / "opaque.png", 32, 48)
    assert capsys.readouterr().err == "", "an alpha channel that says nothing"
    clear[:10] = 0
    Image.fromarray(np.concatenate([EIGHT, clear], axis=2)).save(tmp_path / "a.png")
    deep = np.concatenate([DEEP, clear.astype(np.uint16) * 257], axis=2)
    deep[20, 20, 3] = 13107  # a fifth
    write_deep(tmp_path / "deep.png", deep)
    for name, pixels in (("a.png", EIGHT.astype(np.uint16) * 257), ("deep.png", DEEP)):
        fitted = fit_still(tmp_path / name, 32, 48)
        assert not fitted[:10].any()
        np.testing.assert_array_equal(fitted[21:], pixels[21:])
        assert capsys.readouterr().err == f"{tmp_path / name}: what is transparent was made black\n"
    np.testing.assert_allclose(fitted[20, 20], DEEP[20, 20] / 5, atol=0.5)


def profile(primaries: Float[np.ndarray, "3 3"], gamma: float) -> bytes:
    """An ICC profile (version 2) of a display: columns of `primaries` are XYZ of red, green, blue (D50)."""

    def fixed(values: np.ndarray) -> bytes:
        return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    name = b"Wide\0"
    described = b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(78)
    tags = {b"desc": described, b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": fixed(np.array(D50))}
    for letter, column in zip("rgb", primaries.T, strict=True):
        tags[f"{letter}XYZ".encode()] = fixed(column)
        tags[f"{letter}TRC".encode()] = curve
    at, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for key, value in tags.items():
        padded = value + bytes(-len(value) % 4)
        table += key + struct.pack(">II", at + len(body), len(value))
        body += padded
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ") + bytes(12)
    head += b"acsp" + bytes(28) + fixed(np.array(D50))[8:] + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + body


D50 = (0.9642, 1.0, 0.8249)
P3_D50 = np.array([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]])
"""Display P3's primaries adapted to D50; source: Apple's Display P3 profile, rXYZ, gXYZ, bXYZ."""
SRGB_D50 = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
"""Source: the sRGB profile of the ICC, in the same way."""


def test_another_profile_is_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Against the matrices: linear light, XYZ, sRGB's primaries and curve."""
    colours = RNG.integers(90, 166, (32, 48, 3), np.uint8)  # none so vivid that sRGB has not got it
    Image.fromarray(colours).save(tmp_path / "wide.png", icc_profile=profile(P3_D50, 2.2))
    light = np.linalg.solve(SRGB_D50, P3_D50 @ ((colours / 255) ** 2.1992).reshape(-1, 3).T).T  # 2.2 in eighths of bits
    wanted = np.where(light <= 0.0031308, light * 12.92, 1.055 * light.clip(0) ** (1 / 2.4) - 0.055) * 255
    got = fit_still(tmp_path / "wide.png", 32, 48).reshape(-1, 3) / 257
    assert np.abs(got - wanted).max() < 1.5
    assert np.abs(got - colours.reshape(-1, 3)).max() > 5, "it makes a difference"
    assert capsys.readouterr().err == f"{tmp_path / 'wide.png'}: colours converted from Wide to sRGB\n"


def test_profiles_that_change_nothing_or_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(EIGHT).save(tmp_path / "srgb.png", icc_profile=srgb)
    np.testing.assert_array_equal(fit_still(tmp_path / "srgb.png", 32, 48), EIGHT.astype(np.uint16) * 257)
    assert capsys.readouterr().err == ""
    for name, data in (("damaged", b"no profile"), ("for colours", profile(P3_D50, 2.2))):
        picture = Image.fromarray(EIGHT[..., 0] if name == "for colours" else EIGHT)
        picture.save(tmp_path / "a.png", icc_profile=data)
        fit_still(tmp_path / "a.png", 32, 48)
        assert "does not fit it and was left aside\n" in capsys.readouterr().err, name
    png = io.BytesIO()
    Image.fromarray(EIGHT).save(png, "PNG", icc_profile=profile(P3_D50, 2.2))
    whole = png.getvalue()
    start = whole.index(b"iCCP") - 4
    chunk = whole[start : start + 12 + struct.unpack(">I", whole[start : start + 4])[0]]
    write_deep(tmp_path / "deep.png", DEEP)
    data = (tmp_path / "deep.png").read_bytes()
    (tmp_path / "deep.png").write_bytes(data[:33] + chunk + data[33:])
    np.testing.assert_array_equal(fit_still(tmp_path / "deep.png", 32, 48), DEEP)
    assert "its colour profile (Wide) was left aside, export 16 bits as sRGB\n" in capsys.readouterr().err


def test_cmyk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Full ink is dark, no ink is white, and no profile is a guess."""
    Image.new("CMYK", (48, 32), (0, 0, 0, 0)).save(tmp_path / "a.tif")
    assert (fit_still(tmp_path / "a.tif", 32, 48) == 65535).all()
    assert "CMYK without a profile" in capsys.readouterr().err
    Image.new("CMYK", (48, 32), (0, 255, 255, 0)).save(tmp_path / "red.jpg", quality=100)
    red = fit_still(tmp_path / "red.jpg", 32, 48) / 257
    assert red[..., 0].min() > 250
    assert red[..., 1:].max() < 5


def test_bad_pictures_are_named(tmp_path: Path) -> None:
    Image.fromarray(EIGHT).save(tmp_path / "short.png")
    write_deep(tmp_path / "short16.png", DEEP)
    for name in ("short.png", "short16.png"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-1500])
    (tmp_path / "text.jpg").write_text("no picture", encoding="utf-8")
    cv2.imwrite(str(tmp_path / "deep.tif"), DEEP)
    cv2.imwrite(str(tmp_path / "float.tif"), DEEP.astype(np.float32))
    frames = [Image.fromarray(EIGHT), Image.fromarray(255 - EIGHT)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    for name, word in (
        ("short.png", "damaged"), ("short16.png", "damaged"), ("text.jpg", "damaged"), ("deep.tif", "PNG of 16 bits"),
        ("float.tif", ""), ("moving.webp", "moving"), ("absent.png", "no such file"),
    ):  # fmt: skip
        with pytest.raises(FootageError, match=rf"{name}.*{word}") as error:
            fit_still(tmp_path / name, 32, 48)
        assert "\n" not in str(error.value)
