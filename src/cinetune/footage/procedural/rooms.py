"""The indoor places and the street: one wall plane and the floor."""

import numpy as np

from cinetune.footage.procedural.canvas import RGB, Brush, mix, shade
from cinetune.footage.procedural.looks import Look
from cinetune.footage.procedural.places import Canvas, Place, spaced

_FLOOR = 0.84


def _wall(canvas: Canvas, look: Look, wall: RGB, floor: RGB) -> tuple[Brush, float, float]:
    """Paint a wall that darkens towards the ceiling, a skirting board and a floor of boards."""
    brush, left, right = canvas.brush(1.0)
    brush.place(-left, 0.0)
    for k in range(12):
        brush.box(left, _FLOOR * k / 12, right, 1.0, shade(wall, 0.82 + 0.018 * k))
    for k in range(5):
        brush.box(left, _FLOOR + 0.035 * k, right, 1.1, shade(floor, 1.0 - 0.06 * k))
    brush.box(left, _FLOOR - 0.045, right, _FLOOR, shade(floor, 0.72))
    return brush, left, right


def _curtained_window(brush: Brush, look: Look, x: float, cloth: RGB, glass: RGB) -> None:
    brush.place(x, 0.0)
    brush.box(-0.2, 0.14, 0.2, 0.6, shade(look.white, 0.6))
    brush.box(-0.18, 0.16, 0.18, 0.58, glass)
    brush.box(-0.01, 0.16, 0.01, 0.58, shade(look.white, 0.6))
    brush.box(-0.18, 0.35, 0.18, 0.37, shade(look.white, 0.6))
    for side in (-1, 1):
        for k in range(4):
            u = side * (0.15 + 0.045 * k)
            brush.poly(
                ((u, 0.1), (u + side * 0.05, 0.1), (u + side * 0.06, 0.78), (u + side * 0.005, 0.78)),
                shade(cloth, 0.75 + 0.15 * (k % 2)),
            )
    brush.limb(((-0.38, 0.1), (0.38, 0.1)), 0.025, look.dark)


def _frame(brush: Brush, look: Look, x: float, y: float, high: float, inside: RGB) -> None:
    brush.place(x, y)
    brush.box(-0.42 * high, -0.5 * high, 0.42 * high, 0.5 * high, (170, 126, 60))
    brush.box(-0.34 * high, -0.42 * high, 0.34 * high, 0.42 * high, inside)
    brush.poly(
        (
            (-0.34 * high, 0.42 * high),
            (-0.1 * high, 0.0),
            (0.1 * high, 0.2 * high),
            (0.34 * high, 0.05 * high),
            (0.34 * high, 0.42 * high),
        ),
        shade(inside, 0.6),
    )


def parlour(canvas: Canvas, look: Look, rng: np.random.Generator) -> Place:
    """An old room with curtained windows and pictures."""
    brush, left, right = _wall(canvas, look, look.far, look.ground)
    for x in spaced(left, right, 0.22, rng):
        brush.place(x - left, 0.0)
        brush.box(-0.012, 0.0, 0.012, 0.56, shade(look.far, 0.93))
    brush.place(-left, 0.0)
    brush.box(left, 0.58, right, _FLOOR - 0.045, shade(look.mid, 0.9))
    brush.box(left, 0.57, right, 0.595, shade(look.mid, 0.6))
    cloth = look.accents[int(rng.integers(len(look.accents)))]
    for k, x in enumerate(spaced(left, right, 0.72, rng)):
        if k % 2 == 0:
            _curtained_window(brush, look, x - left, cloth, (52, 64, 104))
        else:
            _frame(brush, look, x - left, 0.33, 0.26, mix(look.dark, look.accents[1], 0.6))
    return Place((canvas.plane(brush, 1.0, left),), 0.92)


def library(canvas: Canvas, look: Look, rng: np.random.Generator) -> Place:
    """Shelves of old books."""
    brush, left, right = _wall(canvas, look, look.mid, look.ground)
    brush.place(-left, 0.0)
    for row in range(4):
        top = 0.03 + 0.2 * row
        brush.box(left, top, right, top + 0.18, shade(look.near, 0.42))
        x = left
        while x < right:
            wide, high = float(rng.uniform(0.035, 0.075)), float(rng.uniform(0.11, 0.165))
            book = mix(look.accents[int(rng.integers(len(look.accents)))], look.near, float(rng.uniform(0.35, 0.75)))
            book = shade(book, 0.72)
            if rng.uniform() < 0.9:
                brush.box(x, top + 0.18 - high, x + wide * 0.9, top + 0.18, book)
                brush.box(x, top + 0.18 - high * 0.8, x + wide * 0.9, top + 0.18 - high * 0.7, shade(book, 1.3))
            x += wide
        brush.box(left, top + 0.18, right, top + 0.2, shade(look.far, 0.8))
    for x in spaced(left, right, 0.9, rng):
        brush.box(x - 0.025, 0.0, x + 0.025, _FLOOR, shade(look.far, 0.85))
    return Place((canvas.plane(brush, 1.0, left),), 0.92)


def hall(canvas: Canvas, look: Look, rng: np.random.Generator) -> Place:
    """A stone hall with arches."""
    stone = mix(look.far, (150, 140, 128), 0.5)
    brush, left, right = _wall(canvas, look, stone, shade(stone, 0.72))
    for x in spaced(left, right, 0.62, rng):
        brush.place(x - left, 0.0)
        brush.oval(0, 0.34, 0.21, 0.21, shade(stone, 0.36))
        brush.box(-0.21, 0.34, 0.21, _FLOOR, shade(stone, 0.36))
        brush.oval(0.02, 0.36, 0.17, 0.17, shade(stone, 0.26))
        brush.box(-0.15, 0.36, 0.19, _FLOOR, shade(stone, 0.26))
        for side in (-1, 1):
            brush.box(side * 0.265 - 0.035, 0.3, side * 0.265 + 0.035, _FLOOR, shade(stone, 1.12))
            brush.box(side * 0.265 - 0.055, 0.27, side * 0.265 + 0.055, 0.31, shade(stone, 1.2))
    return Place((canvas.plane(brush, 1.0, left),), 0.92)


def plain_room(canvas: Canvas, look: Look, rng: np.random.Generator) -> Place:
    """A bright room with a window, a door, a picture and a plant."""
    wall = (look.sky[1], (188, 200, 204), (206, 196, 178))[int(rng.integers(3))]
    brush, left, right = _wall(canvas, look, wall, look.ground)
    for k, x in enumerate(spaced(left, right, 0.62, rng)):
        kind = (k + int(rng.integers(2))) % 3
        if kind == 0:
            brush.place(x - left, 0.0)
            brush.box(-0.2, 0.16, 0.2, 0.58, look.white)
            brush.box(-0.175, 0.185, -0.01, 0.555, (176, 208, 228))
            brush.box(0.01, 0.185, 0.175, 0.555, (176, 208, 228))
        elif kind == 1:
            brush.place(x - left, 0.0)
            brush.box(-0.17, 0.2, 0.17, _FLOOR, shade(look.ground, 0.85))
            brush.box(-0.14, 0.23, 0.14, _FLOOR, shade(look.ground, 1.05))
            brush.disc(0.1, 0.54, 0.018, look.dark)
        else:
            _frame(brush, look, x - left, 0.34, 0.24, (120, 150, 170))
            brush.place(x - left, _FLOOR)
            for lean in (-0.14, -0.05, 0.06, 0.15):
                brush.oval(lean * 0.8, -0.2, 0.03, 0.13, (92, 132, 84), lean * 4)
            brush.poly(((-0.07, -0.12), (0.07, -0.12), (0.05, 0.02), (-0.05, 0.02)), (176, 96, 66))
    return Place((canvas.plane(brush, 1.0, left),), 0.93)


def street(canvas: Canvas, look: Look, rng: np.random.Generator) -> Place:
    """A row of house fronts along a pavement."""
    brush, left, right = canvas.brush(1.0)
    x = left - 0.2
    fronts: tuple[RGB, ...] = ((196, 160, 132), (178, 180, 170), (160, 172, 184), (206, 190, 158), (184, 140, 124))
    while x < right:
        wide = float(rng.uniform(0.55, 0.75))
        front = fronts[int(rng.integers(len(fronts)))]
        brush.place(x - left, 0.0)
        for k in range(6):
            brush.box(0, 0.14 * k, wide, 1.0, shade(front, 0.94 + 0.015 * k))
        brush.box(wide - 0.012, 0.0, wide, _FLOOR, shade(front, 0.72))
        for u in (0.12, wide - 0.26):
            brush.box(u, 0.1, u + 0.14, 0.34, look.white)
            brush.box(u + 0.015, 0.115, u + 0.125, 0.325, (112, 136, 152))
        door = look.accents[int(rng.integers(len(look.accents)))]
        brush.box(0.1, 0.46, 0.27, _FLOOR, shade(look.white, 0.9))
        brush.box(0.12, 0.48, 0.25, _FLOOR, shade(door, 0.8))
        brush.box(wide - 0.26, 0.48, wide - 0.08, 0.7, look.white)
        brush.box(wide - 0.245, 0.495, wide - 0.095, 0.685, (112, 136, 152))
        x += wide
    brush.place(-left, 0.0)
    brush.box(left, _FLOOR, right, 1.1, shade(look.track, 1.05))
    brush.box(left, _FLOOR, right, _FLOOR + 0.012, shade(look.track, 0.8))
    x = round(left) - 1.0
    while x < right:
        brush.poly(
            ((x, _FLOOR + 0.012), (x + 0.01, _FLOOR + 0.012), (x - 0.02, 1.05), (x - 0.032, 1.05)),
            shade(look.track, 0.85),
        )
        x += 0.33
    return Place((canvas.plane(brush, 1.0, left),), 0.93)
