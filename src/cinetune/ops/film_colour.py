"""From R'G'B' of 16 bits (display-referred, BT.709 primaries) to what films hold: Y'CbCr, or light."""

from functools import cache

import numpy as np
from jaxtyping import Float32, UInt16

KR, KG, KB = 0.2126, 0.7152, 0.0722
"""Shares of the three in luma. Source: ITU-R BT.709-6, item 3.2."""

Plane = np.ndarray
"""Codes of one component: uint8 for 8 bits, uint16 above."""


def to_ycbcr(
    frame: UInt16[np.ndarray, "h w 3"], bits: int, *, halve_lines: bool, dither: bool
) -> tuple[Plane, Plane, Plane]:
    """Return Y', Cb and Cr of limited range (16..235 and 16..240 at 8 bits), straight from the 16 bits.

    Colour is halved across with the weights 1 2 1, so that its samples lie on every other luma sample, and, where
    lines are halved, between two lines: where players expect it in 4:2:2 and 4:2:0.

    Args:
        frame: of even width, and even height where lines are halved.
        bits: of a code, 8 to 16.
        halve_lines: 4:2:0 rather than 4:2:2.
        dither: round up or down by a fixed pattern of 8x8 thresholds, so that a slow gradient keeps its mean instead
            of becoming bands; exact codes stay. Without, round to the nearest.

    Source: ITU-R BT.709-6, items 3.2 to 3.5 and 4.6; ITU-T H.273, Chroma420SampleLocType 0; B. E. Bayer, "An optimum
    method for two-level rendition of continuous-tone pictures", ICC 1973.
    """
    red, green, blue = (frame[..., n] * np.float32(1 / 65535) for n in range(3))
    luma = np.float32(KR) * red + np.float32(KG) * green + np.float32(KB) * blue
    colours = [(blue - luma) / np.float32(2 * (1 - KB)), (red - luma) / np.float32(2 * (1 - KR))]
    codes = [219 * luma + 16, *(224 * _halved(colour, halve_lines) + 128 for colour in colours)]
    y, cb, cr = (_to_codes(plane * np.float32(2 ** (bits - 8)), bits, dither) for plane in codes)
    return y, cb, cr


def to_light(frame: UInt16[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
    """Return linear light 0..1, rounded to half floats (11 significant bits) as OpenEXR holds them.

    Source: IEC 61966-2-1 (sRGB), 5.2: the two branches meet at 0.04045.
    """
    return np.asarray(_light()[frame])


@cache
def _light() -> Float32[np.ndarray, "65536"]:
    level = np.arange(65536) / 65535
    light = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    return np.asarray(light, np.float16).astype(np.float32)


def _halved(plane: Float32[np.ndarray, "h w"], lines: bool) -> Float32[np.ndarray, "h2 w2"]:
    even, odd = plane[:, ::2], plane[:, 1::2]
    before = np.concatenate([plane[:, :1], odd[:, :-1]], axis=1)  # at the edge the picture goes on as it ends
    across = (before + 2 * even + odd) / 4
    return np.asarray((across[::2] + across[1::2]) / 2 if lines else across)


def _to_codes(plane: Float32[np.ndarray, "h w"], bits: int, dither: bool) -> Plane:
    height, width = plane.shape
    up = _thresholds() if dither else np.full((1, 1), 0.5, np.float32)
    everywhere = np.tile(up, (-(-height // len(up)), -(-width // len(up))))[:height, :width]
    codes: Plane = np.floor(plane + everywhere)
    return codes.astype(np.uint8 if bits == 8 else np.uint16)


@cache
def _thresholds() -> Float32[np.ndarray, "8 8"]:
    """Return 64 thresholds in 0..1, each once, neighbours far apart."""
    order: np.ndarray = np.zeros((1, 1))
    for _ in range(3):
        order = np.block([[4 * order, 4 * order + 2], [4 * order + 3, 4 * order + 1]])
    return np.asarray((order + 0.5) / 64).astype(np.float32)
