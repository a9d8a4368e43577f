"""Moving things: how each is drawn at one moment. All face right; the brush mirrors them.

Every function draws in local units (the origin where it touches the ground or, in the air, its middle) and returns
the lights it carries. `t` is seconds, `gone` the distance travelled in local units.
"""

import math
from dataclasses import dataclass

from cinetune.footage.procedural.canvas import RGB, Brush, mix, shade
from cinetune.footage.procedural.looks import Look


@dataclass(frozen=True)
class Light:
    """A soft light around a point; all in frame heights."""

    x: float
    y: float
    radius: float
    colour: RGB
    strength: float


def light_at(brush: Brush, x: float, y: float, radius: float, colour: RGB, strength: float) -> Light:
    """Return a light at a local point; `radius` in frame heights."""
    px, py = brush.at(x, y)
    return Light(px, py, radius, colour, strength)


def _wheel(brush: Brush, x: float, radius: float, gone: float, tyre: RGB, spoke: RGB) -> None:
    brush.disc(x, -radius, radius, tyre)
    brush.disc(x, -radius, radius * 0.62, spoke)
    turn = gone / radius
    for k in range(2):
        c, s = math.cos(turn + k * math.pi / 2) * radius * 0.6, math.sin(turn + k * math.pi / 2) * radius * 0.6
        brush.limb(((x - c, -radius - s), (x + c, -radius + s)), radius * 0.28, tyre)


def car(brush: Brush, look: Look, accent: RGB, t: float, gone: float) -> list[Light]:
    """A round saloon car, 1 long."""
    lift = 0.008 * math.sin(gone * 9.0)
    low, glass = shade(accent, 0.72), mix(look.sky[1], look.white, 0.55)
    brush.poly(((-0.5, -0.1), (-0.51, -0.22 + lift), (-0.46, -0.29 + lift), (-0.34, -0.31 + lift),
                (-0.24, -0.47 + lift), (-0.16, -0.5 + lift), (0.1, -0.5 + lift), (0.18, -0.47 + lift),
                (0.3, -0.31 + lift), (0.46, -0.27 + lift), (0.51, -0.2 + lift), (0.5, -0.1)), accent)  # fmt: skip
    brush.poly(((-0.5, -0.1), (-0.51, -0.17 + lift), (0.51, -0.17 + lift), (0.5, -0.1)), low)
    brush.poly(((-0.27, -0.32 + lift), (-0.2, -0.45 + lift), (-0.05, -0.46 + lift), (-0.05, -0.32 + lift)), glass)
    brush.poly(((0.0, -0.32 + lift), (0.0, -0.46 + lift), (0.1, -0.46 + lift), (0.22, -0.32 + lift)), glass)
    brush.disc(0.485, -0.22 + lift, 0.035, look.window or look.white)
    for x in (-0.29, 0.3):
        _wheel(brush, x, 0.115, gone, look.dark, mix(look.white, look.dark, 0.25))
    if look.window is None:
        return []
    return [light_at(brush, 0.6, -0.2, 0.22, look.window, 0.7), light_at(brush, 0.85, -0.12, 0.3, look.window, 0.35)]


def _coach(brush: Brush, look: Look, left: float, colour: RGB, gone: float) -> None:
    brush.box(left, -0.5, left + 0.9, -0.12, colour)
    brush.box(left - 0.02, -0.54, left + 0.92, -0.49, shade(colour, 0.6))
    brush.box(left, -0.2, left + 0.9, -0.12, shade(colour, 0.7))
    glass = look.window or mix(look.sky[1], look.white, 0.6)
    for k in range(3):
        brush.box(left + 0.09 + k * 0.27, -0.43, left + 0.27 + k * 0.27, -0.27, glass)
    for x in (0.2, 0.7):
        _wheel(brush, left + x, 0.1, gone, look.dark, mix(look.white, look.dark, 0.4))


def train(brush: Brush, look: Look, accent: RGB, t: float, gone: float) -> list[Light]:
    """A steam engine with two coaches; the engine is 0.95 long, its front at x = 0.5."""
    puff = mix(look.white, look.sky[1], 0.25)
    for k in range(6, -1, -1):
        age = (k + (t * 3.0) % 1.0) / 6.0
        colour = mix(puff, look.sky[1], min(1.0, 0.75 * age))
        brush.disc(0.32 - 1.3 * age, -0.68 - 0.34 * age, 0.07 + 0.13 * age, colour)
    _coach(brush, look, -1.45, accent, gone)
    _coach(brush, look, -2.45, accent, gone)
    body = mix(look.dark, accent, 0.35)
    brush.box(-0.55, -0.16, 0.46, -0.1, look.dark)
    brush.box(-0.4, -0.6, -0.06, -0.14, accent)
    brush.box(-0.45, -0.65, -0.01, -0.59, look.dark)
    brush.box(-0.33, -0.53, -0.13, -0.38, look.window or mix(look.sky[1], look.white, 0.6))
    brush.box(-0.06, -0.45, 0.42, -0.16, body)
    brush.oval(0.42, -0.305, 0.06, 0.145, shade(body, 1.25))
    brush.poly(((0.27, -0.44), (0.25, -0.68), (0.4, -0.68), (0.38, -0.44)), look.dark)
    brush.oval(0.1, -0.46, 0.07, 0.06, accent)
    brush.poly(((0.44, -0.16), (0.6, -0.03), (0.44, -0.03)), look.dark)
    for x in (-0.24, 0.04, 0.3):
        _wheel(brush, x, 0.13, gone, accent if x < 0.2 else look.dark, mix(look.white, look.dark, 0.3))
    turn = gone / 0.13
    px, py = 0.07 * math.cos(turn), -0.13 + 0.07 * math.sin(turn)
    brush.limb(((-0.24 + px, py), (0.3 + px, py)), 0.035, look.white)
    if look.window is None:
        return []
    return [light_at(brush, 0.56, -0.32, 0.3, look.window, 0.8)]


def boat(brush: Brush, look: Look, accent: RGB, t: float, gone: float) -> list[Light]:
    """A sailing boat, 0.9 high, rocking; the waterline at y = 0."""
    swell = 0.05 * math.sin(2.2 * t)
    sail = look.white
    brush.poly(((0.0, -0.2), (0.02, -0.98), (-0.12, -0.62), (-0.42 - swell, -0.24)), sail)
    brush.poly(((0.0, -0.56), (0.0, -0.2), (-0.42 - swell, -0.24), (-0.25, -0.43)), shade(sail, 0.86))
    brush.poly(((0.05, -0.92), (0.07, -0.22), (0.46 + swell, -0.24)), accent)
    brush.limb(((0.03, -1.0), (0.03, -0.12)), 0.03, look.dark)
    brush.poly(((0.03, -1.0), (-0.14, -0.97 + swell * 0.5), (0.03, -0.92)), accent)
    brush.poly(((-0.5, -0.17), (0.58, -0.19), (0.4, 0.03), (-0.4, 0.03)), mix(look.dark, accent, 0.2))
    brush.poly(((-0.5, -0.17), (0.58, -0.19), (0.54, -0.13), (-0.475, -0.12)), look.white)
    return []


def balloon(brush: Brush, look: Look, accent: RGB, t: float, gone: float) -> list[Light]:
    """A hot-air balloon, 1.3 high, the origin in the middle of the envelope."""
    other = look.white
    for side in (-1, 1):
        brush.limb(((side * 0.26, 0.3), (side * 0.09, 0.66)), 0.018, look.dark)
    brush.poly(((-0.42, 0.12), (0.42, 0.12), (0.26, 0.34), (0.1, 0.5), (-0.1, 0.5), (-0.26, 0.34)), shade(accent, 0.8))
    brush.disc(0, 0, 0.45, accent)
    brush.poly(((-0.24, 0.12), (0.24, 0.12), (0.06, 0.5), (-0.06, 0.5)), shade(other, 0.85))
    brush.oval(0, 0, 0.26, 0.45, other)
    brush.oval(0, 0, 0.1, 0.45, accent)
    brush.poly(((-0.1, 0.0), (0.1, 0.0), (0.03, 0.5), (-0.03, 0.5)), accent)
    brush.box(-0.11, 0.64, 0.11, 0.82, mix(look.dark, (150, 96, 50), 0.7))
    brush.box(-0.125, 0.62, 0.125, 0.67, look.dark)
    burn = max(0.0, math.sin(2.6 * t))
    if look.window is None or burn < 0.1:
        return []
    brush.poly(((-0.05, 0.6), (0.05, 0.6), (0.0, 0.6 - 0.16 * burn)), look.window)
    return [light_at(brush, 0.0, 0.35, 0.4, look.window, 0.55 * burn)]


def bird(brush: Brush, look: Look, accent: RGB, t: float, gone: float) -> list[Light]:
    """A big bird, 1 long, flapping 1.6 times a second."""
    beat = math.sin(math.tau * 1.6 * t)
    body, back = look.white, mix(look.white, look.dark, 0.28)
    tip = mix(look.white, look.dark, 0.75)
    up = -0.5 * beat
    brush.poly(((0.12, -0.02), (-0.16, -0.02), (-0.2, up * 0.7), (-0.3, up * 1.0), (-0.02, up * 0.75)), back)
    brush.poly(((-0.3, -0.03), (-0.62, -0.12), (-0.6, 0.03), (-0.3, 0.06)), back)
    brush.oval(-0.02, 0.02, 0.36, 0.125, body, -0.06)
    brush.disc(0.34, -0.07, 0.105, body)
    brush.poly(((0.42, -0.11), (0.58, -0.03), (0.42, -0.01)), accent)
    brush.disc(0.37, -0.1, 0.024, look.dark)
    brush.poly(
        ((0.18, 0.0), (-0.2, 0.03), (-0.28, up * 0.75), (-0.42, up * 1.25), (0.02, up * 0.85)), shade(body, 0.94)
    )
    brush.poly(((-0.275, up * 0.72), (-0.42, up * 1.25), (-0.12, up * 1.0)), tip)
    return []


def ship(brush: Brush, look: Look, accent: RGB, t: float, gone: float) -> list[Light]:
    """A hovering saucer ship with three engines, 1.1 long."""
    cyan, pink = look.window or look.white, look.sun
    brush.oval(0.05, -0.12, 0.26, 0.2, mix(cyan, look.white, 0.35))
    brush.oval(0.1, -0.16, 0.12, 0.1, look.white)
    brush.poly(((-0.62, -0.02), (-0.45, -0.14), (0.4, -0.13), (0.66, 0.0), (0.4, 0.13), (-0.4, 0.15)), accent)
    brush.poly(((-0.62, -0.02), (0.66, 0.0), (0.4, 0.13), (-0.4, 0.15)), shade(accent, 0.55))
    brush.poly(((-0.45, -0.12), (-0.72, -0.34), (-0.56, -0.34), (-0.22, -0.13)), shade(accent, 0.8))
    lights = []
    for k, x in enumerate((-0.36, 0.0, 0.36)):
        pulse = 0.6 + 0.4 * math.sin(7.0 * t + 2.0 * k)
        brush.oval(x, 0.12, 0.1, 0.05, mix(pink, look.white, 0.3 + 0.5 * pulse))
        lights.append(light_at(brush, x, 0.2, 0.2, pink, 0.5 * pulse + 0.2))
    brush.limb(((-0.5, -0.02), (0.55, 0.0)), 0.03, cyan)
    lights.append(light_at(brush, 0.05, -0.14, 0.25, cyan, 0.4))
    return lights


def drone(brush: Brush, look: Look, accent: RGB, t: float, gone: float) -> list[Light]:
    """A round eye with two spinning rotors, 1 wide."""
    pink = look.sun
    for side in (-1, 1):
        brush.limb(((0.0, -0.05), (side * 0.42, -0.2)), 0.07, shade(accent, 0.7))
        reach = 0.26 * math.cos(11.0 * t + side)
        brush.limb(((side * 0.42 - reach, -0.27), (side * 0.42 + reach, -0.27)), 0.05, look.white)
        brush.disc(side * 0.42, -0.22, 0.06, accent)
    brush.disc(0.0, 0.0, 0.27, accent)
    brush.poly(((-0.265, 0.05), (0.265, 0.05), (0.17, 0.22), (0.0, 0.27), (-0.17, 0.22)), shade(accent, 0.6))
    brush.disc(0.09, 0.0, 0.155, look.dark)
    brush.disc(0.1, 0.0, 0.1, pink)
    brush.disc(0.13, -0.03, 0.04, look.white)
    for side in (-1, 1):
        brush.limb(((side * 0.12, 0.24), (side * 0.2, 0.4)), 0.05, shade(accent, 0.7))
    beam = 0.55 + 0.25 * math.sin(5.0 * t)
    return [light_at(brush, 0.12, 0.0, 0.34, pink, beam)]


def candle(brush: Brush, look: Look, accent: RGB, t: float, gone: float) -> list[Light]:
    """A candle in a brass stick, 1 high without its flame; the origin at its foot."""
    brass, wax = (196, 148, 66), look.white
    brush.oval(0, -0.03, 0.26, 0.05, shade(brass, 0.8))
    brush.limb(((0, -0.05), (0, -0.3)), 0.06, brass)
    brush.oval(0, -0.3, 0.16, 0.045, brass)
    brush.box(-0.085, -0.78, 0.085, -0.3, wax)
    brush.box(0.02, -0.78, 0.085, -0.3, shade(wax, 0.8))
    brush.oval(0, -0.78, 0.085, 0.025, mix(wax, (255, 190, 90), 0.5))
    return [flame(brush, look, 0.0, -0.8, 0.36, t)]


def flame(brush: Brush, look: Look, x: float, y: float, size: float, t: float) -> Light:
    """Draw a flame with its foot at (x, y), bending in the draught; `size` is its height. Returns its light."""
    bend = 0.34 * math.sin(5.2 * t) + 0.16 * math.sin(11.7 * t + 1.0)
    high = 1.0 + 0.2 * math.sin(7.3 * t + 0.6) + 0.1 * math.sin(15.1 * t)
    for width, reach, colour in (
        (0.27, 1.0, (255, 148, 40)),
        (0.19, 0.78, (255, 206, 90)),
        (0.1, 0.5, (255, 250, 214)),
    ):
        left, right = [], []
        for k in range(9):
            u = k / 8
            wide = width * size * math.sin(math.pi * min(1.0, 0.18 + 0.82 * u)) ** 0.8 * (1.0 - 0.25 * u)
            cx = x + bend * size * u * u * reach
            cy = y - size * high * reach * u
            left.append((cx - wide, cy))
            right.append((cx + wide, cy))
        brush.poly(left + right[::-1], colour)
    strength = 1.0 + 0.14 * math.sin(7.3 * t + 0.6) + 0.08 * math.sin(15.1 * t) + 0.05 * math.sin(23.0 * t)
    return light_at(brush, x + 0.2 * bend * size, y - 0.45 * size, 0.9, (255, 196, 104), strength)


def lamp(brush: Brush, look: Look, accent: RGB, t: float, gone: float) -> list[Light]:
    """An oil lamp on a chain, swinging; the origin where the chain hangs, 0.8 below it the flame."""
    swing = 0.42 * math.sin(2.9 * t)
    c, s = math.cos(swing), math.sin(swing)

    def turn(u: float, v: float) -> tuple[float, float]:
        return u * c + v * s, v * c - u * s

    def turned(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [turn(*p) for p in points]

    brass = (196, 148, 66)
    brush.limb(turned((0, -0.2), (0, 0.4)), 0.03, shade(brass, 0.55))
    brush.poly(turned((-0.05, 0.38), (0.05, 0.38), (0.2, 0.52), (-0.2, 0.52)), brass)
    brush.poly(
        turned((-0.13, 0.52), (0.13, 0.52), (0.17, 0.68), (0.12, 0.84), (-0.12, 0.84), (-0.17, 0.68)), (255, 222, 150)
    )
    brush.poly(turned((-0.05, 0.82), (-0.075, 0.7), (0.0, 0.57), (0.075, 0.7), (0.05, 0.82)), (255, 252, 224))
    brush.poly(turned((-0.2, 0.84), (0.2, 0.84), (0.15, 0.97), (-0.15, 0.97)), brass)
    brush.poly(turned((-0.2, 0.84), (0.2, 0.84), (0.19, 0.88), (-0.19, 0.88)), shade(brass, 1.3))
    return [light_at(brush, *turn(0.0, 0.7), 0.85, (255, 196, 104), 1.0 + 0.06 * math.sin(9.0 * t))]


def clock(brush: Brush, look: Look, accent: RGB, t: float, gone: float) -> list[Light]:
    """A tall case clock, 1 high, its pendulum swinging wide behind no glass; the origin at its foot."""
    wood, brass = mix(look.dark, (150, 88, 46), 0.75), (214, 168, 82)
    brush.box(-0.26, -0.08, 0.26, 0.0, shade(wood, 0.7))
    brush.box(-0.22, -0.62, 0.22, -0.08, wood)
    brush.box(-0.17, -0.6, 0.17, -0.12, shade(wood, 0.34))
    brush.box(-0.26, -0.98, 0.26, -0.61, shade(wood, 1.15))
    brush.poly(((-0.3, -0.97), (0.0, -1.1), (0.3, -0.97)), shade(wood, 0.8))
    brush.disc(0, -0.79, 0.165, brass)
    brush.disc(0, -0.79, 0.14, look.white)
    for angle, reach in ((0.9 * t, 0.12), (0.075 * t + 2.0, 0.08)):
        brush.limb(((0, -0.79), (reach * math.sin(angle), -0.79 - reach * math.cos(angle))), 0.026, look.dark)
    swing = 0.3 * math.sin(math.tau * 1.0 * t)
    px, py = 0.38 * math.sin(swing), -0.61 + 0.38 * math.cos(swing)
    brush.limb(((0, -0.61), (px, py)), 0.025, brass)
    brush.disc(px, py, 0.075, brass)
    brush.disc(px - 0.02, py - 0.02, 0.035, (255, 226, 150))
    return []
