"""Still pictures: the right way up, in eight bits, and anything else named in one line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cinetune.errors import FootageError
from cinetune.footage.pictures import picture_size, read_picture

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 32, 3), np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.BMP", "a.tiff"])
def test_pixels_come_back(tmp_path: Path, name: str) -> None:
    Image.fromarray(PIXELS).save(tmp_path / name, lossless=True)
    np.testing.assert_array_equal(read_picture(tmp_path / name), PIXELS)
    assert picture_size(tmp_path / name) == (20, 32)


@pytest.mark.parametrize(("orientation", "turned"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_the_right_way_up(tmp_path: Path, orientation: int, turned: int) -> None:
    """Exif 2.3, tag 0x0112: 3 is upside down, 6 has its top at the right, 8 at the left; quarter turns to the left."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif)
    upright = np.rot90(PIXELS, turned)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), upright)
    assert picture_size(tmp_path / "a.png") == upright.shape[:2]


def test_what_is_transparent_is_black(tmp_path: Path) -> None:
    alpha = np.full((20, 32, 1), 255, np.uint8)
    alpha[:10] = 0
    Image.fromarray(np.concatenate([PIXELS, alpha], axis=2)).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    assert not picture[:10].any()
    np.testing.assert_array_equal(picture[10:], PIXELS[10:])


def test_bad_pictures_are_named(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "short.png")
    (tmp_path / "short.png").write_bytes((tmp_path / "short.png").read_bytes()[:-400])
    (tmp_path / "text.jpg").write_text("no picture", encoding="utf-8")
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "deep.png")
    for name, word in (
        ("short.png", "damaged"), ("text.jpg", "damaged"), ("moving.webp", "moving"), ("deep.png", "8 bits"),
        ("absent.png", "no such file"),
    ):  # fmt: skip
        with pytest.raises(FootageError, match=rf"{name}.*{word}") as error:
            read_picture(tmp_path / name)
        assert "\n" not in str(error.value)
