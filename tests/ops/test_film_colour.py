"""Y'CbCr and light: the standards' own numbers, and FFmpeg's converter beside this one."""

import numpy as np
import pytest
from av.video.frame import VideoFrame

from cinetune.ops.film_colour import KB, KG, KR, to_light, to_ycbcr

BARS = {  # Y' Cb Cr at 8 bits and at 10. Source: the equations of BT.709-6, items 3.2 to 3.5, worked out by hand
    (1, 1, 1): ((235, 128, 128), (940, 512, 512)),
    (1, 1, 0): ((219, 16, 138), (877, 64, 553)),
    (0, 1, 1): ((188, 154, 16), (754, 615, 64)),
    (0, 1, 0): ((173, 42, 26), (691, 167, 105)),
    (1, 0, 1): ((78, 214, 230), (313, 857, 919)),
    (1, 0, 0): ((63, 102, 240), (250, 409, 960)),
    (0, 0, 1): ((32, 240, 118), (127, 960, 471)),
    (0, 0, 0): ((16, 128, 128), (64, 512, 512)),
}


def flat(colour: tuple[float, ...], height: int = 8, width: int = 8) -> np.ndarray:
    return np.broadcast_to(np.rint(np.multiply(colour, 65535)).astype(np.uint16), (height, width, 3))


@pytest.mark.parametrize("colour", BARS)
@pytest.mark.parametrize("halve_lines", [True, False])
def test_the_eight_bars(colour: tuple[float, ...], halve_lines: bool) -> None:
    for bits, codes in zip((8, 10), BARS[colour], strict=True):
        planes = to_ycbcr(flat(colour), bits, halve_lines=halve_lines, dither=False)
        assert [set(np.unique(plane)) for plane in planes] == [{code} for code in codes]
        assert [plane.shape for plane in planes] == [(8, 8)] + 2 * [(4 if halve_lines else 8, 4)]
        assert planes[0].dtype == (np.uint8 if bits == 8 else np.uint16)
    assert pytest.approx(1, abs=1e-12) == KR + KG + KB


def test_ten_bits_hold_every_level_of_a_ramp() -> None:
    ramp = np.broadcast_to(np.arange(65536, dtype=np.uint16)[None, :, None], (2, 65536, 3))
    y, cb, cr = to_ycbcr(ramp, 10, halve_lines=True, dither=False)
    assert np.array_equal(np.unique(y), np.arange(64, 941))
    assert np.array_equal(y[0], np.floor(64 + 876 * np.arange(65536) / 65535 + 0.5))
    assert set(np.unique(cb)) == set(np.unique(cr)) == {512}


def test_beside_the_equations_and_the_converter_of_ffmpeg() -> None:
    """On flat colours, so that ways to halve do not matter. FFmpeg's own integers are up to 3.4 codes off."""
    for colour in np.random.default_rng(0).random((200, 3)):
        frame = np.ascontiguousarray(flat(tuple(colour)))
        theirs = VideoFrame.from_ndarray(frame, format="rgb48le").reformat(
            format="yuv422p10le", dst_colorspace=1, dst_color_range=1
        )
        ours = [int(plane[0, 0]) for plane in to_ycbcr(frame, 10, halve_lines=False, dither=False)]
        red, green, blue = frame[0, 0] / 65535
        luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        exact = [64 + 876 * luma, 512 + 896 * (blue - luma) / 1.8556, 512 + 896 * (red - luma) / 1.5748]
        assert ours == pytest.approx(exact, abs=0.501)
        assert [int(np.frombuffer(plane, np.uint16)[0]) for plane in theirs.planes] == pytest.approx(ours, abs=4)


def test_colour_lies_on_every_other_luma_sample_and_between_lines() -> None:
    frame = np.zeros((4, 12, 3), np.uint16)
    frame[0, 4, 2] = 65535  # blue on an even column
    frame[2, 9, 2] = 65535  # and on an odd one, between two samples of colour
    _, cb, _ = to_ycbcr(frame, 10, halve_lines=False, dither=False)
    assert (cb[0] - 512).tolist() == [0, 0, 224, 0, 0, 0]
    assert (cb[2] - 512).tolist() == [0, 0, 0, 0, 112, 112]
    _, cb, _ = to_ycbcr(frame, 10, halve_lines=True, dither=False)
    assert (cb - 512).tolist() == [[0, 0, 112, 0, 0, 0], [0, 0, 0, 0, 56, 56]]


def test_a_dithered_area_keeps_its_mean_and_exact_codes_stay() -> None:
    for level in np.random.default_rng(1).integers(0, 65536, 50):
        grey = np.full((16, 16, 3), level, np.uint16)
        exact = 16 + 219 * level / 65535
        assert abs(to_ycbcr(grey, 8, halve_lines=True, dither=True)[0].mean() - exact) <= 1 / 64
        assert abs(to_ycbcr(grey, 8, halve_lines=True, dither=False)[0] - exact).max() <= 0.5001
    for code in (16, 89, 235):
        grey = np.full((16, 16, 3), round((code - 16) / 219 * 65535), np.uint16)
        assert set(np.unique(to_ycbcr(grey, 8, halve_lines=True, dither=True)[0])) == {code}


def test_light() -> None:
    """Source of the numbers: IEC 61966-2-1, worked out by hand; half floats have steps of 2^-11 of their size."""
    level = np.array([0.0, 0.04, 0.05, 0.5, 1.0])
    light = to_light(np.rint(level * 65535).astype(np.uint16)[None, :, None].repeat(3, 2))
    assert light[0, :, 1] == pytest.approx([0, 0.0030960, 0.0039359, 0.2140411, 1], rel=2**-11)
    every = np.arange(65536, dtype=np.uint16)
    light = to_light(every[None, :, None].repeat(3, 2))[0, :, 0].astype(np.float64)
    assert (np.diff(light) >= 0).all()
    back = 65535 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    assert abs(back - every).max() < 11
    assert abs(back - every)[:1600].max() < 0.5  # in the darks each of the 16 bits is there
