"""The places of the outdoor worlds: a sky and planes at several distances, each painted once."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from cinetune.footage.procedural.canvas import RGB, Brush, Layer, glow, gradient, mix, over, shade
from cinetune.footage.procedural.looks import Look


@dataclass(frozen=True)
class Plane:
    """One painted distance."""

    image: Layer
    """As high as the frame, as wide as the camera will see."""
    depth: float
    """How fast it moves when the camera moves: 0 at infinity, 1 at the subject."""
    left: float
    """Where its left edge lies, frame heights, at this depth."""


@dataclass(frozen=True)
class Place:
    """A painted place."""

    planes: tuple[Plane, ...]
    ground: float
    """y where subjects stand, frame heights."""
    mirror: float | None = None
    """y of the line that the ground mirrors about, or None."""
    mirror_strength: float = 0.0
    mirror_after: int = 0
    """How many planes are mirrored; the others lie on top of the water or the wet street."""


@dataclass(frozen=True)
class Canvas:
    """What a painter needs to know: the frame in pixels and how far the camera travels, frame heights."""

    height: int
    width: int
    reach: tuple[float, float]

    def brush(self, depth: float) -> tuple[Brush, float, float]:
        """Return an empty layer for this depth, with the x of its left and right edges."""
        half = self.width / self.height / 2 + 0.08
        left, right = depth * self.reach[0] - half, depth * self.reach[1] + half
        brush = Brush(self.height, math.ceil((right - left) * self.height))
        return brush, left, right

    def plane(self, brush: Brush, depth: float, left: float) -> Plane:
        """Return the painted brush as a plane."""
        return Plane(brush.layer(), depth, left)


Painter = Callable[[Canvas, Look, np.random.Generator], Place]


def _sky(canvas: Canvas, look: Look, rng: np.random.Generator, horizon: float) -> Plane:
    """Paint gradient, sun or moon with its glow, stars by night and soft clouds. At infinity: it does not move."""
    brush, left, right = canvas.brush(0.0)
    h, w = brush.height, brush.width
    picture = gradient(h, w, ((0.0, look.sky[0]), (0.55 * horizon, look.sky[1]), (horizon, look.sky[2])))
    sun_x = left + (right - left) * rng.uniform(0.2, 0.8) - left
    if look.sun_radius > 0:
        halo = glow(h, w, sun_x, look.sun_height, 0.62) * look.sun_glow
        picture += halo[..., None] * np.array(look.sun, np.float32) * 0.7
        brush.place(sun_x, look.sun_height)
        brush.disc(0, 0, look.sun_radius, look.sun)
        picture = over(picture, brush.layer())
        brush.clear()
    brush.place(0.0, 0.0)
    cloud = mix(look.sky[2], look.white, 0.6)
    for _ in range(5):
        x, y, size = rng.uniform(0, right - left), rng.uniform(0.06, horizon * 0.62), rng.uniform(0.1, 0.24)
        for k in range(5):
            along = (k - 2) / 2
            bump = size * (1.0 - 0.6 * abs(along)) * rng.uniform(0.75, 1.1)
            brush.oval(x + along * size * 1.5, y - 0.12 * bump, bump * 0.75, bump * 0.26, cloud)
    soft = cv2.GaussianBlur(brush.layer(), (0, 0), 0.011 * h) * np.float32(0.55)
    picture = np.minimum(over(picture, soft), 255)
    image = np.concatenate([picture, np.full((h, w, 1), 255, np.float32)], axis=-1)
    return Plane(image, 0.0, left)


def _ridge(
    brush: Brush, left: float, right: float, base: float, swell: float, colour: RGB, rng: np.random.Generator
) -> None:
    """Fill a rolling hill line, hazier towards its foot."""
    waves = [
        (swell * rng.uniform(0.5, 1.0) / (k + 1), rng.uniform(0.9, 1.5) * (k + 1), rng.uniform(0, 6.3))
        for k in range(3)
    ]
    xs = np.linspace(left, right, 90)
    ys = base + np.sum([a * np.sin(f * 2.2 * xs + p) for a, f, p in waves], axis=0)
    brush.place(-left, 0.0)
    for step in range(6):
        drop = 0.06 * step
        line = [(float(x), float(y) + drop) for x, y in zip(xs, ys, strict=True)]
        brush.poly([*line, (right, 1.1), (left, 1.1)], shade(colour, 1.0 + 0.035 * step))


def _ground(brush: Brush, look: Look, left: float, right: float, top: float, ground: float) -> None:
    """Paint the ground in bands that darken towards the camera, with the track that subjects move on."""
    brush.place(-left, 0.0)
    for k in range(8):
        y = top + (1.02 - top) * k / 8
        brush.box(left, y, right, 1.05, shade(look.ground, 1.04 - 0.03 * k))
    brush.box(left, ground - 0.035, right, ground + 0.075, look.track)
    brush.box(left, ground + 0.06, right, ground + 0.075, shade(look.track, 0.8))


def _tree(brush: Brush, x: float, foot: float, size: float, leaf: RGB, trunk: RGB) -> None:
    brush.place(x, foot, size)
    brush.limb(((0, 0), (0, -0.5)), 0.09, trunk)
    brush.disc(-0.16, -0.55, 0.22, leaf)
    brush.disc(0.17, -0.58, 0.2, shade(leaf, 0.9))
    brush.disc(0.02, -0.78, 0.25, shade(leaf, 1.1))


def _pine(brush: Brush, x: float, foot: float, size: float, leaf: RGB, trunk: RGB) -> None:
    brush.place(x, foot, size)
    brush.limb(((0, 0), (0, -0.3)), 0.07, trunk)
    for k in range(3):
        y, wide = -0.16 - 0.25 * k, 0.26 - 0.06 * k
        brush.poly(((-wide, y), (wide, y), (0, y - 0.36)), shade(leaf, 0.92 + 0.08 * k))


def spaced(left: float, right: float, step: float, rng: np.random.Generator) -> list[float]:
    """Return positions about `step` apart."""
    count = math.ceil((right - left) / step) + 1
    return [left + (k + float(rng.uniform(-0.28, 0.28))) * step for k in range(count)]


def hills(canvas: Canvas, look: Look, rng: np.random.Generator) -> Place:
    """Rolling hills with a few round trees along a road."""
    planes = [_sky(canvas, look, rng, 0.66)]
    for depth, base, swell, colour in (
        (0.12, 0.5, 0.075, look.far),
        (0.3, 0.6, 0.06, look.mid),
        (0.55, 0.69, 0.04, look.near),
    ):
        brush, left, right = canvas.brush(depth)
        _ridge(brush, left, right, base, swell, colour, rng)
        planes.append(canvas.plane(brush, depth, left))
    brush, left, right = canvas.brush(1.0)
    for x in spaced(left, right, 0.85, rng):
        _tree(brush, x - left, 0.79, float(rng.uniform(0.26, 0.4)), mix(look.near, look.ground, 0.35), look.dark)
    _ground(brush, look, left, right, 0.78, 0.88)
    planes.append(canvas.plane(brush, 1.0, left))
    return Place(tuple(planes), 0.88)


def forest(canvas: Canvas, look: Look, rng: np.random.Generator) -> Place:
    """Rows of pines behind a path."""
    planes = [_sky(canvas, look, rng, 0.66)]
    rows = ((0.15, 0.72, 0.42, 0.13, look.far), (0.35, 0.78, 0.56, 0.22, look.mid), (0.65, 0.83, 0.72, 0.5, look.near))
    for depth, foot, size, step, colour in rows:
        brush, left, right = canvas.brush(depth)
        brush.place(-left, 0.0)
        brush.box(left, foot - 0.06, right, 1.05, colour)
        for x in spaced(left, right, step, rng):
            _pine(brush, x - left, foot, size * float(rng.uniform(0.75, 1.15)), colour, shade(colour, 0.7))
        planes.append(canvas.plane(brush, depth, left))
    brush, left, right = canvas.brush(1.0)
    _ground(brush, look, left, right, 0.81, 0.88)
    for x in spaced(left, right, 0.5, rng):
        brush.place(x - left, 0.83, float(rng.uniform(0.08, 0.14)))
        brush.oval(0, 0, 1.0, 0.55, mix(look.near, look.ground, 0.4))
    planes.append(canvas.plane(brush, 1.0, left))
    return Place(tuple(planes), 0.88)


def sea(canvas: Canvas, look: Look, rng: np.random.Generator) -> Place:
    """Open water that mirrors the sky, with islands on the horizon."""
    horizon = 0.6
    planes = [_sky(canvas, look, rng, horizon)]
    brush, left, right = canvas.brush(0.15)
    for x in spaced(left, right, 0.8, rng):
        wide, high = float(rng.uniform(0.22, 0.42)), float(rng.uniform(0.07, 0.16))
        brush.place(x - left, horizon + 0.005)
        brush.poly(
            ((-wide, 0), (-0.5 * wide, -0.7 * high), (-0.1 * wide, -high), (0.35 * wide, -0.55 * high), (wide, 0)),
            look.far,
        )
    brush.place(-left, 0.0)
    for k in range(12):
        brush.box(
            left,
            horizon + 0.034 * k,
            right,
            1.05,
            mix(mix(look.sky[0], look.sky[1], 0.6), shade(look.sky[0], 0.6), k / 11),
        )
    planes.append(canvas.plane(brush, 0.15, left))
    brush, left, right = canvas.brush(1.0)
    for _ in range(round((right - left) * 26)):
        near = float(rng.uniform(0.12, 1.0)) ** 1.4
        brush.place(float(rng.uniform(0, right - left)), horizon + 0.4 * near)
        colour = mix(look.sky[2], look.white, 0.5) if rng.uniform() < 0.6 else shade(look.sky[0], 0.8)
        brush.oval(0, 0, 0.03 + 0.11 * near, 0.003 + 0.009 * near, colour)
    glints = brush.layer() * np.float32(0.5)
    planes.append(Plane(glints, 1.0, left))
    return Place(tuple(planes), 0.86, horizon, 0.62, len(planes) - 1)


def _towers(
    brush: Brush, look: Look, left: float, right: float, foot: float, size: tuple[float, float], colour: RGB,
    rng: np.random.Generator, lit: float,
) -> None:  # fmt: skip
    """Paint a row of buildings with windows, `lit` of them lit (where the look has a window colour)."""
    x = left - 0.1
    while x < right:
        wide, high = float(rng.uniform(0.16, 0.3)), float(rng.uniform(*size))
        body = shade(colour, float(rng.uniform(0.9, 1.1)))
        brush.place(x - left, foot)
        brush.box(0, -high, wide + 0.004, 0.5, body)
        if rng.uniform() < 0.4:
            brush.box(wide * 0.35, -high - 0.05, wide * 0.65, -high, body)
        columns = max(2, round(wide / 0.062))
        pitch = wide / columns
        for row in range(int(high / 0.075)):
            for column in range(columns):
                on = rng.uniform() < lit
                if look.window is None:
                    glass = mix(body, look.white, 0.4 if on else 0.16)
                else:
                    glass = mix(body, look.window, 0.85) if on else shade(body, 0.72)
                u, v = pitch * (column + 0.27), -high + 0.03 + row * 0.075
                brush.box(u, v, u + pitch * 0.46, v + 0.036, glass)
        x += wide


def city(canvas: Canvas, look: Look, rng: np.random.Generator) -> Place:
    """A skyline behind a street with lamp posts."""
    planes = [_sky(canvas, look, rng, 0.72)]
    for depth, size, colour, lit in ((0.2, (0.28, 0.58), look.walls[0], 0.12), (0.5, (0.16, 0.4), look.walls[1], 0.4)):
        brush, left, right = canvas.brush(depth)
        _towers(brush, look, left, right, 0.76, size, colour, rng, lit)
        planes.append(canvas.plane(brush, depth, left))
    brush, left, right = canvas.brush(1.0)
    brush.place(-left, 0.0)
    for k in range(6):
        brush.box(left, 0.76 + 0.05 * k, right, 1.05, shade(look.track, 1.05 - 0.06 * k))
    brush.box(left, 0.76, right, 0.795, mix(look.track, look.white, 0.3))
    x = math.floor(left / 0.5) * 0.5
    while x < right:
        brush.place(x - left, 0.955)
        brush.box(0, -0.009, 0.24, 0.009, mix(look.track, look.white, 0.65))
        x += 0.5
    for x in spaced(left, right, 0.9, rng):
        brush.place(x - left, 0.79)
        brush.limb(((0, 0), (0, -0.46), (0.07, -0.49)), 0.018, look.dark)
        brush.disc(0.08, -0.475, 0.026, look.window or look.white)
    planes.append(canvas.plane(brush, 1.0, left))
    return Place(tuple(planes), 0.9, 0.78 if look.wet else None, look.wet, len(planes))


def neon_city(canvas: Canvas, look: Look, rng: np.random.Generator) -> Place:
    """Towers with neon signs over a wet street."""
    planes = [_sky(canvas, look, rng, 0.75)]
    signs = (look.window or look.white, look.sun, (255, 196, 70), (150, 90, 255))
    for depth, size, colour, lit in ((0.18, (0.3, 0.52), look.walls[0], 0.18), (0.45, (0.16, 0.4), look.walls[1], 0.3)):
        brush, left, right = canvas.brush(depth)
        _towers(brush, look, left, right, 0.7, size, colour, rng, lit)
        for x in spaced(left, right, 0.34, rng):
            sign = signs[int(rng.integers(len(signs)))]
            high = float(rng.uniform(0.12, 0.26))
            brush.place(x - left, float(rng.uniform(0.42, 0.62)))
            brush.limb(((0, 0), (0, -high)), 0.035 + 0.03 * depth, sign)
        layer = brush.layer()
        bright = np.maximum(layer - 120, 0)
        layer[..., :3] += cv2.GaussianBlur(bright[..., :3], (0, 0), 0.03 * canvas.height) * 0.9
        planes.append(Plane(np.minimum(layer, 255), depth, left))
    brush, left, right = canvas.brush(1.0)
    brush.place(-left, 0.0)
    brush.box(left, 0.68, right, 1.05, look.ground)
    brush.box(left, 0.675, right, 0.688, look.sun)
    for x in spaced(left, right, 0.7, rng):
        brush.place(x - left, 0.0)
        brush.box(-0.02, 0.5, 0.02, 0.69, look.dark)
        brush.box(-0.05, 0.485, 0.05, 0.51, look.window or look.white)
    planes.append(canvas.plane(brush, 1.0, left))
    return Place(tuple(planes), 0.765, 0.69, look.wet, len(planes))


def moon_base(canvas: Canvas, look: Look, rng: np.random.Generator) -> Place:
    """Lit domes on a dark plain under a ringed planet."""
    planes = [_sky(canvas, look, rng, 0.75)]
    brush, left, right = canvas.brush(0.06)
    brush.place(float(rng.uniform(0.35, 0.65)) * (right - left), 0.36)
    for k in range(6):
        brush.disc(0.012 * k, -0.012 * k, 0.23 - 0.03 * k, mix((92, 40, 150), (255, 150, 120), k / 6))
    brush.limb(
        [(0.36 * math.cos(a), 0.05 * math.sin(a) - 0.1 * math.cos(a)) for a in np.linspace(0.0, 3.14, 20)],
        0.012,
        look.window or look.white,
    )
    planes.append(canvas.plane(brush, 0.06, left))
    brush, left, right = canvas.brush(0.35)
    brush.place(-left, 0.0)
    brush.box(left, 0.66, right, 1.05, look.mid)
    for x in spaced(left, right, 0.55, rng):
        size = float(rng.uniform(0.13, 0.22))
        brush.place(x - left, 0.67)
        brush.oval(0, 0, size, size * 0.9, look.far)
        for side in (-0.5, 0.0, 0.5):
            brush.oval(side * size, -0.3 * size, 0.1 * size, 0.12 * size, look.window or look.white)
        brush.box(-size, 0, size, 0.05, look.mid)
    planes.append(canvas.plane(brush, 0.35, left))
    brush, left, right = canvas.brush(1.0)
    brush.place(-left, 0.0)
    brush.box(left, 0.69, right, 1.05, look.ground)
    for x in spaced(left, right, 0.3, rng):
        brush.place(x - left, float(rng.uniform(0.71, 0.82)))
        brush.oval(0, 0, 0.08, 0.012, look.window or look.white)
    planes.append(canvas.plane(brush, 1.0, left))
    return Place(tuple(planes), 0.765, 0.69, look.wet * 0.7, len(planes))
