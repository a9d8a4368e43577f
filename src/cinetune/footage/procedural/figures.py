"""People and a robot with articulated limbs. Height 1 from the soles (y = 0) to the crown; they face right."""

import math
from dataclasses import dataclass

from cinetune.footage.procedural.canvas import RGB, Brush, Point, mix, shade
from cinetune.footage.procedural.looks import Look
from cinetune.footage.procedural.things import Light, flame, light_at

STRIDE = 0.9
"""Distance of one full step cycle (left and right), in body heights."""


@dataclass(frozen=True)
class Dress:
    """What tells one person from another."""

    top: RGB
    legs: RGB
    hair: RGB
    skin: RGB
    skirt: bool
    hat: bool


def dress(look: Look, accent: RGB, who: str) -> Dress:
    """Return the clothes of "person" or "man" (a coat and a hat) or "woman" (a dress and long hair)."""
    skirt = who == "woman"
    hair = mix(look.dark, (120, 70, 40), 0.45) if skirt else look.dark
    return Dress(accent, mix(look.dark, accent, 0.12), hair, look.skin, skirt, not skirt)


def _joint(x: float, y: float, angle: float, length: float) -> Point:
    """Return the end of a bone that hangs down at angle 0 and swings forward (right) for positive angles."""
    return x + length * math.sin(angle), y + length * math.cos(angle)


def _leg(brush: Brush, hip: Point, phase: float, colour: RGB, shoe: RGB, thick: float) -> None:
    thigh = 0.52 * math.sin(phase)
    bend = 0.15 + 0.75 * max(0.0, math.cos(phase)) ** 1.5
    knee = _joint(*hip, thigh, 0.24)
    foot = _joint(*knee, thigh - bend, 0.23)
    brush.limb((hip, knee, foot), thick, colour)
    brush.limb((foot, (foot[0] + 0.06, foot[1] + 0.01)), thick * 0.8, shoe)


def _arm(brush: Brush, shoulder: Point, upper: float, bend: float, colour: RGB, skin: RGB, thick: float) -> None:
    elbow = _joint(*shoulder, upper, 0.18)
    hand = _joint(*elbow, upper + bend, 0.17)
    brush.limb((shoulder, elbow, hand), thick, colour)
    brush.disc(*hand, thick * 0.55, skin)


def _side_head(brush: Brush, d: Dress, x: float, y: float) -> None:
    brush.limb(((x, y + 0.06), (x - 0.005, y + 0.13)), 0.055, shade(d.skin, 0.8))
    if d.skirt:
        brush.oval(x - 0.04, y + 0.045, 0.075, 0.13, d.hair)
    brush.disc(x, y, 0.085, d.skin)
    brush.poly(((x + 0.07, y - 0.01), (x + 0.115, y + 0.03), (x + 0.07, y + 0.04)), d.skin)
    brush.poly(((x - 0.09, y + 0.04), (x - 0.09, y - 0.05), (x - 0.03, y - 0.095), (x + 0.06, y - 0.08),
                (x + 0.085, y - 0.03), (x + 0.0, y - 0.03), (x - 0.02, y + 0.03)), d.hair)  # fmt: skip
    if d.hat:
        brush.poly(((x - 0.085, y - 0.05), (x - 0.07, y - 0.14), (x + 0.06, y - 0.14), (x + 0.08, y - 0.05)), d.top)
        brush.poly(
            ((x - 0.13, y - 0.035), (x - 0.12, y - 0.065), (x + 0.14, y - 0.065), (x + 0.15, y - 0.035)),
            shade(d.top, 0.6),
        )


def walk(brush: Brush, d: Dress, gone: float, near_arm: bool = True) -> None:
    """A person in profile walking; without the near arm for one who carries something in it."""
    phase = math.tau * gone / STRIDE
    bob = 0.014 * math.cos(2 * phase)
    hip, shoulder = (0.0, -0.47 + bob), (0.015, -0.77 + bob)
    back, far = shade(d.legs, 0.75), shade(d.top, 0.62)
    skin_legs = d.skin if d.skirt else d.legs
    _arm(brush, shoulder, 0.5 * math.sin(phase), 0.35, far, shade(d.skin, 0.8), 0.07)
    _leg(brush, hip, phase + math.pi, shade(skin_legs, 0.75) if d.skirt else back, shade(d.legs, 0.5), 0.095)
    _leg(brush, hip, phase, skin_legs, shade(d.legs, 0.6), 0.1)
    sway = 0.06 * math.sin(phase)
    if d.skirt:
        brush.poly(
            ((-0.075, -0.56 + bob), (0.085, -0.56 + bob), (0.2 + abs(sway), -0.24), (-0.2 - abs(sway), -0.24)), d.top
        )
    else:
        brush.poly(((-0.1, -0.56 + bob), (0.11, -0.56 + bob), (0.14 + sway, -0.34), (-0.14 + sway, -0.34)), d.top)
    trunk = ((-0.075, -0.83), (0.075, -0.83), (0.12, -0.74), (0.105, -0.53), (-0.1, -0.53), (-0.115, -0.74))
    brush.poly([(x, y + bob) for x, y in trunk], d.top)
    _side_head(brush, d, 0.035, -0.915 + bob)
    if near_arm:
        _arm(brush, shoulder, -0.5 * math.sin(phase), 0.35, shade(d.top, 0.82), d.skin, 0.075)


def _front_body(brush: Brush, d: Dress, wide: float) -> None:
    """Draw legs and trunk seen from the front; `wide` 0..1 squeezes the figure as it turns."""
    for side in (-1, 1):
        x = side * 0.075 * wide
        brush.limb(((x, -0.46), (x * 1.15, -0.03)), 0.105, d.skin if d.skirt else d.legs)
        brush.limb(((x * 1.1, -0.02), (x * 1.1 + side * 0.03 * wide, -0.015)), 0.085, shade(d.legs, 0.6))
    w = 0.6 + 0.4 * wide
    hem, foot = (0.25, -0.24) if d.skirt else (0.17, -0.36)
    brush.poly(((-0.16 * w, -0.8), (-0.06, -0.84), (0.06, -0.84), (0.16 * w, -0.8), (0.115 * w, -0.55),
                (hem * w, foot), (-hem * w, foot), (-0.115 * w, -0.55)), d.top)  # fmt: skip
    brush.limb(((0, -0.82), (0, -0.88)), 0.06, shade(d.skin, 0.8))


def _turned_head(brush: Brush, d: Dress, yaw: float) -> None:
    """Draw a head seen from the front at yaw 0, from the right at pi/2, from behind at pi."""
    y = -0.93
    face, side = math.cos(yaw), math.sin(yaw)
    if d.skirt:
        brush.oval(-0.03 * side, y + 0.02, 0.118, 0.125, d.hair)
        brush.poly(((-0.05, y + 0.06), (0.05, y + 0.06), (0.07, y + 0.17), (-0.07, y + 0.17)), shade(d.skin, 0.85))
    brush.disc(0, y, 0.088, d.skin if face > -0.35 else d.hair)
    if d.skirt and face < -0.35:
        brush.oval(0, y + 0.04, 0.1, 0.13, d.hair)
    if face > -0.35:
        for eye in (-0.55, 0.55):
            if math.cos(yaw + eye) > 0.1:
                brush.disc(0.08 * math.sin(yaw + eye), y - 0.002, 0.013, shade(d.hair, 0.5))
        if face > 0.2:
            brush.limb(
                ((0.07 * side - 0.025 * face, y + 0.045), (0.07 * side + 0.025 * face, y + 0.045)),
                0.012,
                shade(d.skin, 0.72),
            )
        brush.poly([(0.095 * math.cos(a) - 0.012 * side, y - 0.03 + 0.075 * math.sin(a)) for a in _ARC], d.hair)
    if d.hat:
        brush.poly(((-0.09, y - 0.05), (-0.075, y - 0.14), (0.075, y - 0.14), (0.09, y - 0.05)), shade(d.top, 0.85))
        brush.oval(0.02 * side, y - 0.045, 0.14, 0.026, shade(d.top, 0.6))


_ARC = [math.pi + math.pi * i / 12 for i in range(13)]


def wave(brush: Brush, d: Dress, t: float) -> None:
    """A person facing the camera, one arm up and waving, the weight shifting from foot to foot."""
    sway = 0.05 * math.sin(3.0 * t)
    beat = math.sin(math.tau * 1.25 * t)
    _front_body(brush, d, 1.0)
    _arm(brush, (-0.15, -0.77), -0.22 - sway, 0.12, shade(d.top, 0.8), d.skin, 0.078)
    _turned_head(brush, d, sway * 4)
    shoulder = (0.15, -0.77)
    elbow = _joint(*shoulder, 1.9 + 0.12 * beat, 0.18)
    hand = _joint(*elbow, 2.9 + 0.75 * beat, 0.2)
    brush.limb((shoulder, elbow, hand), 0.08, shade(d.top, 0.85))
    brush.disc(*hand, 0.055, d.skin)


def turn_around(brush: Brush, d: Dress, t: float) -> None:
    """A person turning on the spot, arms a little out, one turn in 2.2 seconds."""
    yaw = math.tau * t / 2.2
    wide = abs(math.cos(yaw))
    sides = sorted((-1, 1), key=lambda s: math.cos(yaw + s * math.pi / 2))
    reach = {s: math.cos(yaw) * s for s in sides}
    _raised(brush, d, reach[sides[0]], sides[0], shade(d.top, 0.62))
    _front_body(brush, d, wide)
    _turned_head(brush, d, math.atan2(math.sin(yaw), math.cos(yaw)))
    _raised(brush, d, reach[sides[1]], sides[1], shade(d.top, 0.85))


def _raised(brush: Brush, d: Dress, reach: float, side: int, colour: RGB) -> None:
    shoulder = (0.14 * reach, -0.77)
    elbow = (shoulder[0] + 0.13 * reach, -0.66)
    hand = (elbow[0] + 0.14 * reach, -0.54)
    brush.limb((shoulder, elbow, hand), 0.075, colour)
    brush.disc(*hand, 0.042, d.skin)


def candle_bearer(brush: Brush, d: Dress, look: Look, gone: float, t: float) -> list[Light]:
    """A person walking with a candle held out in front."""
    walk(brush, d, gone, near_arm=False)
    bob = 0.012 * math.cos(2 * math.tau * gone / STRIDE)
    shoulder, elbow, hand = (0.02, -0.76 + bob), (0.1, -0.62 + bob), (0.29, -0.68 + bob)
    brush.limb((shoulder, elbow, hand), 0.075, shade(d.top, 0.85))
    brush.box(0.265, -0.84 + bob, 0.32, -0.66 + bob, look.white)
    brush.disc(*hand, 0.045, d.skin)
    return [flame(brush, look, 0.292, -0.85 + bob, 0.17, t)]


def robot(brush: Brush, look: Look, accent: RGB, t: float, gone: float) -> list[Light]:
    """A big-chested walking robot with one lit eye."""
    phase = math.tau * gone / STRIDE
    bob = 0.02 * math.cos(2 * phase)
    cyan, dark = look.window or look.white, shade(accent, 0.5)
    hip, shoulder = (0.0, -0.46 + bob), (0.0, -0.76 + bob)
    _arm(brush, shoulder, 0.45 * math.sin(phase), 0.5, dark, shade(accent, 0.6), 0.1)
    _leg(brush, hip, phase + math.pi, dark, dark, 0.12)
    _leg(brush, hip, phase, shade(accent, 0.85), accent, 0.13)
    brush.box(-0.13, -0.54 + bob, 0.13, -0.42 + bob, dark)
    brush.poly(((-0.22, -0.84 + bob), (0.22, -0.84 + bob), (0.18, -0.52 + bob), (-0.18, -0.52 + bob)), accent)
    brush.poly(
        ((-0.22, -0.84 + bob), (-0.06, -0.84 + bob), (-0.06, -0.52 + bob), (-0.18, -0.52 + bob)), shade(accent, 0.7)
    )
    brush.disc(0.1, -0.69 + bob, 0.06, look.sun)
    brush.box(-0.13, -1.06 + bob, 0.14, -0.87 + bob, accent)
    brush.box(-0.0, -1.01 + bob, 0.15, -0.93 + bob, look.dark)
    brush.disc(0.09, -0.97 + bob, 0.036, cyan)
    brush.limb(((-0.07, -1.05 + bob), (-0.1, -1.18 + bob)), 0.025, accent)
    brush.disc(-0.1, -1.18 + bob, 0.03, look.sun)
    _arm(brush, (0.02, -0.76 + bob), -0.45 * math.sin(phase), 0.5, shade(accent, 0.9), accent, 0.11)
    return [light_at(brush, 0.12, -0.97 + bob, 0.2, cyan, 0.6), light_at(brush, 0.1, -0.69 + bob, 0.25, look.sun, 0.5)]
