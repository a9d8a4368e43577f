"""Which clips train, which steer early stopping and which are only ever evaluated: split by scene, never by clip.

Two clips of one scene show the same place in the same light. With one of them in training, the other measures
memory rather than style.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float32

from cinetune.errors import FootageError
from cinetune.footage.captions import Line, line_for

T = TypeVar("T")

SAME_SCENE = 0.7
"""Histogram intersection (0..1) from which two shots of one film count as the same place.

Measured: two views of one hangar in a NASA film 0.86, other pairs of its shots and all pairs of Big Buck Bunny's
first four 0.19 to 0.49. A film graded in one colour reaches 0.7 everywhere and becomes one scene."""
DRAWS = 64


@dataclass(frozen=True)
class Piece:
    """What a split needs to know of a window."""

    id: str
    film: str
    shot: str
    scene: str
    start: float
    """s."""
    end: float
    """s."""


@dataclass(frozen=True)
class Splits:
    """The answer."""

    split: dict[str, str]
    """Id of a piece to "train", "validation" or "test"."""
    overlapping: int
    """Pieces left out because they overlap one of another split."""
    surplus: int
    """Test pieces left out because of footage.max_test."""
    notes: tuple[str, ...]
    """What was unusual, for the console."""


def name_scenes(
    film: str,
    spans: Sequence[tuple[float, float]],
    colours: Float32[np.ndarray, "shots bins"],
    lines: Sequence[Line] = (),
) -> list[str]:
    """Return the scene of each shot of one film.

    Where the sidecar names a scene, that is it. The other shots are grouped by colour: two shots whose Lab
    histograms share `SAME_SCENE` or more are one scene, and so is what hangs together through several shots (A like
    B like C). Two groups that take turns (A B A B: a dialogue seen from two sides) are one scene.

    Args:
        film: put before the name, because equal names in two films are two scenes.
        spans: start and end of each shot, s.
        colours: one histogram a shot, each summing to 1.
        lines: the sidecar.
    """
    said = [line.scene if (line := line_for(lines, *span)) else "" for span in spans]
    unsaid = [n for n, name in enumerate(said) if not name]
    group = _alike(colours[unsaid])
    group = _taking_turns(group)
    first = {g: unsaid[group.index(g)] for g in group}
    names = {n: f"place {first[g]:03d}" for n, g in zip(unsaid, group, strict=True)}
    return [f"{film}/{names.get(n, said[n])}" for n in range(len(spans))]


def _alike(colours: Float32[np.ndarray, "shots bins"]) -> list[int]:
    """Number the groups of shots that hang together through similar histograms (single linkage)."""
    group = list(range(len(colours)))
    for n, row in enumerate(colours):
        for m in np.flatnonzero(np.minimum(colours[:n], row).sum(axis=1) >= SAME_SCENE):
            group = _merge(group, n, int(m))
    return group


def _taking_turns(group: list[int]) -> list[int]:
    for n in range(len(group) - 3):
        a, b, c, d = group[n : n + 4]
        if a == c and b == d:
            group = _merge(group, n, n + 1)
    return group


def _merge(group: list[int], a: int, b: int) -> list[int]:
    old, new = sorted((group[a], group[b]), reverse=True)
    return [new if g == old else g for g in group]


def split(pieces: Sequence[Piece], *, held_out: float, max_test: int, seed: int) -> Splits:
    """Split pieces by scene; of a single scene, by shot. Deterministic in `seed`, whatever the order of `pieces`.

    `held_out` is a share of the scenes. Among `DRAWS` draws of that many scenes the one is taken whose share of
    the clips comes nearest, since scenes differ in length.

    Raises:
        FootageError: too little material for three parts.
    """
    pieces = sorted(pieces, key=lambda p: (p.film, p.start, p.id))
    notes: list[str] = []
    scenes = {p.scene for p in pieces}
    key: Callable[[Piece], str] = _scene
    if len(scenes) == 1:
        key = _shot
        notes.append(
            "split: all footage is one scene, so that shots are split instead; held-out shots look like trained ones"
        )
    groups = _grouped(pieces, key)
    if len(groups) < 2:
        raise FootageError(
            "all clips come from one shot, and held-out clips must come from another one; "
            "add a film or lower footage.frames so that more shots are long enough"
        )
    unit = "scene" if key is _scene else "shot"
    overlapping = 0
    if len(groups) == 2:
        parts, overlapping = _two(groups)
        notes.append(
            f"split: only two {unit}s; one trains, the other is divided between validation and test in order of time"
        )
    else:
        parts = _draw(groups, held_out, seed, scattered=key is _scene)
    test = thin(parts["test"], max_test, key)
    surplus = len(parts["test"]) - len(test)
    answer = {p.id: name for name, part in parts.items() for p in (test if name == "test" else part)}
    return Splits(answer, overlapping, surplus, tuple(notes))


def _scene(piece: Piece) -> str:
    return piece.scene


def _shot(piece: Piece) -> str:
    return piece.shot


def _grouped(items: Sequence[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def _draw(groups: list[list[Piece]], held_out: float, seed: int, *, scattered: bool) -> dict[str, list[Piece]]:
    """Three or more groups: at least one for each part, at least as many for test as for validation.

    Shots of one scene are not `scattered`: neighbours are most alike and stay together.
    """
    held = min(max(round(held_out * len(groups)), 2), len(groups) - 1)
    tested = (held + 1) // 2
    sizes = np.array([len(group) for group in groups])
    wanted = sizes.sum() * held_out / 2
    rng = np.random.default_rng(seed)
    if scattered:
        draws = [rng.permutation(len(groups)) for _ in range(DRAWS)]
    else:
        draws = [np.roll(np.arange(len(groups)), shift) for shift in rng.permutation(len(groups))]

    def miss(draw: np.ndarray) -> float:
        test, validation = sizes[draw[:tested]].sum(), sizes[draw[tested:held]].sum()
        return float(abs(test - wanted) + abs(validation - wanted))

    best = min(draws, key=miss)  # the first of equals
    cuts = {"test": best[:tested], "validation": best[tested:held], "train": best[held:]}
    return {name: [p for n in sorted(chosen) for p in groups[n]] for name, chosen in cuts.items()}


def _two(groups: list[list[Piece]]) -> tuple[dict[str, list[Piece]], int]:
    """Two groups: the smaller one that can be divided is held out, validation before test."""
    for held, trained in sorted(((groups[0], groups[1]), (groups[1], groups[0])), key=lambda pair: len(pair[0])):
        for border in range(len(held) // 2, 0, -1):
            validation = held[:border]
            test = [p for p in held[border:] if not any(_overlap(p, v) for v in validation)]
            if len(test) >= len(validation):
                parts = {"train": trained, "validation": validation, "test": test}
                return parts, len(held) - len(validation) - len(test)
    raise FootageError(
        "two shots or scenes with one clip each do not make three parts (training, validation, test); "
        "add a film or lower footage.frames"
    )


def _overlap(a: Piece, b: Piece) -> bool:
    return a.shot == b.shot and a.start < b.end - 1e-6 and b.start < a.end - 1e-6


def thin(items: Sequence[T], limit: int, key: Callable[[T], Hashable]) -> list[T]:
    """Return at most `limit` items in their order: groups give equally, small ones all, and evenly over their length.

    With more groups than `limit`, groups spread over the whole list give one each.
    """
    groups = _grouped(items, key)
    if len(items) <= limit:
        return list(items)
    if len(groups) > limit:
        groups = [groups[n] for n in _even(len(groups), limit)]
    share = [0] * len(groups)
    left = limit
    while left:
        open_groups = [n for n, group in enumerate(groups) if share[n] < len(group)]
        for n in open_groups[:left]:
            share[n] += 1
        left -= min(left, len(open_groups))
    chosen = {id(group[n]) for group, count in zip(groups, share, strict=True) for n in _even(len(group), count)}
    return [item for item in items if id(item) in chosen]


def _even(length: int, count: int) -> list[int]:
    """Return `count` different positions spread over 0..length - 1, in the middle of equal parts."""
    return [int((n + 0.5) * length / count) for n in range(count)]
