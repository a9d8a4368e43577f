"""Drawing in units of the frame height, the same at every resolution. x points right, y down, colours are RGB 0..255.

A layer is "premultiplied": its colour channels already carry its opacity, so that it lies over a picture as
`picture * (1 - opacity) + colour`. OpenCV's anti-aliased drawing on a zeroed four-channel buffer makes exactly that.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

RGB = tuple[int, int, int]
Point = tuple[float, float]

SUPERSAMPLING = 2
_FRACTION_BITS = 6
_SPRITE = 128  # pixels across the stored glow

Layer = Float32[np.ndarray, "h w 4"]
Picture = Float32[np.ndarray, "h w 3"]


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """Return the colour `share` (0..1) of the way from `a` to `b`."""
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


def shade(colour: RGB, gain: float) -> RGB:
    """Return the colour times `gain`, kept in 0..255."""
    r, g, b = (min(255, round(c * gain)) for c in colour)
    return r, g, b


class Brush:
    """Draws polygons, discs and limbs into one supersampled layer, through a movable local coordinate system."""

    def __init__(self, height: int, width: int) -> None:
        """Make an empty layer of `height` x `width` pixels (after supersampling is averaged away)."""
        self.height, self.width = height, width
        self._size = height * SUPERSAMPLING
        self.buffer = np.zeros((self._size, width * SUPERSAMPLING, 4), np.uint8)
        self.place(0.0, 0.0)

    def clear(self) -> None:
        """Make the layer empty again."""
        self.buffer[:] = 0

    def place(self, x: float, y: float, scale: float = 1.0, angle: float = 0.0, flip: bool = False) -> None:
        """Put the local origin at (x, y) frame heights; `angle` in radians turns clockwise, `flip` mirrors x."""
        k = self._size * scale
        c, s = math.cos(angle) * k, math.sin(angle) * k
        m = -1.0 if flip else 1.0
        self._map = (c * m, -s, s * m, c, x * self._size - 0.5, y * self._size - 0.5)
        self._scale = k

    def at(self, x: float, y: float) -> Point:
        """Return where a local point lies, in frame heights."""
        a, b, c, d, e, f = self._map
        return (a * x + b * y + e + 0.5) / self._size, (c * x + d * y + f + 0.5) / self._size

    def poly(self, points: Sequence[Point], colour: RGB) -> None:
        """Fill a polygon given in local coordinates."""
        a, b, c, d, e, f = self._map
        one = 1 << _FRACTION_BITS
        fixed = [(round((a * x + b * y + e) * one), round((c * x + d * y + f) * one)) for x, y in points]
        corners = np.array(fixed, np.int32)
        cv2.fillPoly(self.buffer, [corners], (*colour, 255), cv2.LINE_AA, _FRACTION_BITS)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: RGB) -> None:
        """Fill an axis-aligned (in local coordinates) rectangle."""
        self.poly(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), colour)

    def disc(self, x: float, y: float, radius: float, colour: RGB) -> None:
        """Fill a circle; `radius` in local units."""
        a, b, c, d, e, f = self._map
        one = 1 << _FRACTION_BITS
        centre = (round((a * x + b * y + e) * one), round((c * x + d * y + f) * one))
        cv2.circle(
            self.buffer, centre, max(1, round(radius * self._scale * one)), (*colour, 255), -1, cv2.LINE_AA,
            _FRACTION_BITS,
        )  # fmt: skip

    def oval(self, x: float, y: float, rx: float, ry: float, colour: RGB, tilt: float = 0.0) -> None:
        """Fill an ellipse with half axes `rx`, `ry`, turned by `tilt` radians."""
        c, s = math.cos(tilt), math.sin(tilt)
        self.poly([(x + rx * u * c - ry * v * s, y + rx * u * s + ry * v * c) for u, v in _CIRCLE], colour)

    def limb(self, points: Sequence[Point], thickness: float, colour: RGB) -> None:
        """Draw a line through the points with round ends; `thickness` in local units."""
        a, b, c, d, e, f = self._map
        one = 1 << _FRACTION_BITS
        fixed = [(round((a * x + b * y + e) * one), round((c * x + d * y + f) * one)) for x, y in points]
        corners = np.array(fixed, np.int32)
        width = max(1, round(thickness * self._scale))
        cv2.polylines(self.buffer, [corners], False, (*colour, 255), width, cv2.LINE_AA, _FRACTION_BITS)

    def bounds(self) -> tuple[slice, slice]:
        """Return the rows and columns that hold everything drawn, in pixels."""
        x, y, width, height = cv2.boundingRect(np.ascontiguousarray(self.buffer[..., 3]))
        k = SUPERSAMPLING
        return slice(y // k, -(-(y + height) // k)), slice(x // k, -(-(x + width) // k))

    def layer(self) -> Layer:
        """Return the layer, supersampling averaged away, as float32 0..255."""
        size = (self.width, self.height)
        small: np.ndarray = cv2.resize(self.buffer, size, interpolation=cv2.INTER_AREA)
        return small.astype(np.float32)


_CIRCLE = [(math.cos(math.tau * i / 24), math.sin(math.tau * i / 24)) for i in range(24)]


def over(picture: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """Lay a premultiplied layer over a picture (or over another layer): returns a new array like `picture`."""
    keep = layer[..., 3:] * np.float32(-1 / 255) + np.float32(1)
    out: np.ndarray = picture * keep
    out += layer[..., : picture.shape[-1]]
    return out


def view(layer: np.ndarray, height: int, width: int, left: float, zoom: float = 1.0, pivot: float = 0.5) -> np.ndarray:
    """Look at a wide layer through the frame.

    Args:
        layer: h W c, as high as the frame and at least as wide.
        left: what lies at the left edge of an unzoomed frame, in frame heights from the layer's left edge.
        zoom: magnification about the middle column of the frame and the row `pivot` (0..1).
        pivot: the row that stays where it is, frame heights.
    """
    k = 1.0 / zoom
    # pixel centres lie at +0.5
    tx = left * height + width / 2 - 0.5 + (0.5 - width / 2) * k
    ty = pivot * height - 0.5 + (0.5 - pivot * height) * k
    matrix = np.array([[k, 0.0, tx], [0.0, k, ty]])
    way = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(layer, matrix, (width, height), flags=way, borderMode=cv2.BORDER_REPLICATE)


def gradient(height: int, width: int, stops: Sequence[tuple[float, RGB]]) -> Picture:
    """Return a smooth vertical gradient through (y in 0..1, colour) stops."""
    y = (np.arange(height, dtype=np.float32) + 0.5) / height
    at = [stop[0] for stop in stops]
    column = np.stack([np.interp(y, at, [stop[1][c] for stop in stops]) for c in range(3)], axis=-1)
    return np.repeat(column[:, None, :].astype(np.float32), width, axis=1)


def _make_sprite() -> np.ndarray:
    axis = (np.arange(_SPRITE, dtype=np.float32) - (_SPRITE - 1) / 2) / (_SPRITE / 2)
    square = axis[:, None] ** 2 + axis[None, :] ** 2
    return np.clip(np.exp(-square * 4.0) - math.exp(-4.0), 0.0, 1.0).astype(np.float32)


_GLOW = _make_sprite()


def glow(height: int, width: int, x: float, y: float, rx: float, ry: float | None = None) -> np.ndarray:
    """Return a soft round spot, h w float32 in 0..1, of radius `rx` (and `ry`) frame heights around (x, y)."""
    kx = _SPRITE / 2 / max(rx * height, 0.5)
    ky = _SPRITE / 2 / max((rx if ry is None else ry) * height, 0.5)
    centre = (_SPRITE - 1) / 2
    matrix = np.array([[kx, 0.0, centre - (x * height - 0.5) * kx], [0.0, ky, centre - (y * height - 0.5) * ky]])
    return cv2.warpAffine(_GLOW, matrix, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def opaque(layer: Layer) -> Bool[np.ndarray, "h w"]:
    """Return where a layer hides more than half of what is behind it."""
    return np.asarray(layer[..., 3] > 127.5)


def letterbox(frame: UInt8[np.ndarray, "h w 3"] | Bool[np.ndarray, "h w"], aspect: float) -> None:
    """Set to 0, in place, what lies outside a centred picture of `aspect` (width over height)."""
    height, width = frame.shape[:2]
    bar = round((height - width / aspect) / 2)
    if bar > 0:
        frame[:bar] = 0
        frame[height - bar :] = 0
    side = round((width - height * aspect) / 2)
    if side > 0:
        frame[:, :side] = 0
        frame[:, width - side :] = 0
