"""Colour along a shot that is made window after window: what each hand-over adds, and how it is taken out again.

A window begins with frames that are there already. It gives them back through the VAE and the network, in colours that
are a little off, and the next window begins from those: a chain drifts. Two things are done about it. The same moments
in the old and the new colours say what the hand-over added, and the whole new window is mapped back. And towards its
end a window is pulled some of the way to the colours of the shot's first frame, against what a network adds in between.

Colours are the mean and deviation of Y', Cb and Cr (brightness, contrast, tint and saturation) of the means of blocks,
which know nothing of lost texture.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt16

from cinetune.generate.window import Frames, Picture
from cinetune.metrics import _grade
from cinetune.metrics._grade import Grade
from cinetune.ops.film_colour import KB, KG, KR
from cinetune.ops.video import to_shallow

_LUMA = np.array([KR, KG, KB])
_BLUE, _RED = (np.eye(3)[2] - _LUMA) / (2 * (1 - KB)), (np.eye(3)[0] - _LUMA) / (2 * (1 - KR))
TO_YCBCR = np.stack([_LUMA, _BLUE, _RED])
"""R'G'B' 0..1 to Y' 0..1, Cb and Cr -0.5..0.5. Source: ITU-R BT.709-6, items 3.2 and 3.3."""
FROM_YCBCR = np.linalg.inv(TO_YCBCR)
BLOCK = 8
"""Pixels of a block's side: one latent pixel of Wan2.1's VAE."""
STEADY = 0.01
"""Added to both deviations: a channel that hardly varies (black and white has no Cb and Cr) is not blown up."""
LARGEST_GAIN = 1.25
"""A correction is not stronger."""
LARGEST_SHIFT = 0.1
"""Of a mean, 0..1 (25 levels). A larger difference is another scene or light, and stays."""
LARGEST_REST = 0.05
"""Median of what is left after the fit, 0..1 (13 levels): where two frames do not show the same, no colours bring them
together."""
ANCHOR = 0.5
"""Measured in docs/expansion.md."""
FULL = np.float32(65535)

Given = UInt16[np.ndarray, "g h w 3"]
"""Frames that a window begins from."""
Triple = tuple[float, float, float]
Map = Float[np.ndarray, "3 4"]
"""R'G'B' 0..1 to R'G'B': a matrix, and what is added."""


@dataclass(frozen=True)
class Correction:
    """How colours are changed: Y', Cb and Cr, each y = gain (x - centre) + centre + shift; all of 0..1."""

    centre: Triple = (0.0, 0.0, 0.0)
    gain: Triple = (1.0, 1.0, 1.0)
    shift: Triple = (0.0, 0.0, 0.0)
    reason: str = ""
    """Why nothing is changed; "" where something is."""

    @property
    def map(self) -> Map:
        """The same of R'G'B'."""
        gain = np.array(self.gain)
        added = (1 - gain) * self.centre + self.shift
        return np.concatenate([FROM_YCBCR @ (gain[:, None] * TO_YCBCR), (FROM_YCBCR @ added)[:, None]], axis=1)

    def of(self, colours: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Return what becomes of colours, Y', Cb and Cr."""
        return (colours - self.centre) * self.gain + self.centre + self.shift


@dataclass(frozen=True)
class HandOver:
    """What a window did to the colours of the frames it was given. One of `handovers` in the JSON beside a shot."""

    window: int
    """0 is the first."""
    start: int
    """The window's first frame in the shot."""
    cast: float
    """Distance of the grades of the given frames before and after, CIELAB units."""
    left: float
    """The same after the correction."""
    gain: list[float]
    """Of the correction: Y', Cb, Cr."""
    shift: list[float]
    """Of the means of Y', Cb, Cr, levels 0..255."""
    reason: str
    """Why it was not corrected, or ""."""
    schema: int = 1


@dataclass(frozen=True)
class Drift:
    """How far the grade of a shot moves. One line of drift.jsonl."""

    shot: str
    seconds: list[float]
    """Of the second, third ... whole second of the shot: distance of its grade from the first's, CIELAB units."""
    last: float | None
    """The same of the shot's last second; None where `reason` says why."""
    reason: str = ""
    schema: int = 1


class Grades:
    """The grades along a shot, frame after frame."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._frames: list[Grade] = []

    def add(self, frames: Frames) -> None:
        """Look at the frames that follow."""
        self._frames += [_grade.grade(to_shallow(frame[None])) for frame in frames]

    def drift(self, shot: str, fps: float) -> Drift:
        """Return how far they move. What enters and leaves the picture counts too."""
        size = max(1, round(fps))
        if len(self._frames) < 2 * size:
            return Drift(shot, [], None, f"{len(self._frames)} frames are less than two seconds")
        moments = np.array([[g[0], g[1] ** 2 + g[0] ** 2] for g in self._frames])
        starts = [*range(0, len(moments) - size + 1, size), len(moments) - size]
        means = [moments[start : start + size].mean(axis=0) for start in starts]
        grades = [np.stack([m, np.sqrt(np.maximum(square - m**2, 0))]) for m, square in means]
        *seconds, last = (_grade.distance(g, grades[0]) for g in grades[1:])
        return Drift(shot, seconds, last)


def correct(
    old: Given, new: Frames, *, reference: UInt16[np.ndarray, "1 h w 3"], anchor: float, end: Picture | None = None
) -> tuple[Frames, Correction]:
    """Return a window in the colours of what came before it, and what was done for that.

    Args:
        old: the frames that the window began from, as they are shown.
        new: the window.
        reference: the shot's first frame.
        anchor: 0..1: how much of the way to the reference's mean and deviation is gone at the window's own end; little
            by little from the end of `old`, so that no join is seen. It also takes back what changes in the scene
            itself: 0 for a sunset.
        end: the picture that the window was told to end with; then its colours are gone to, all the way.
    """
    found = fit(old, new[: len(old)])
    begins = ends = found.map
    if end is not None:
        towards = fit(end[None], new[-1:])
        ends = begins if towards.reason else towards.map
    elif len(new) > len(old):
        back = _bounded(_matched(_blocks(reference), found.of(_blocks(new[len(old) :])))).map
        pull = anchor * back[:, :3] + (1 - anchor) * np.eye(3)
        ends = np.concatenate([pull @ begins[:, :3], (pull @ begins[:, 3] + anchor * back[:, 3])[:, None]], axis=1)
    share = np.clip((np.arange(len(new)) - len(old) + 1) / max(1, len(new) - len(old)), 0, 1)[:, None, None]
    return apply(new, (1 - share) * begins + share * ends), found


def fit(old: Frames, new: Frames) -> Correction:
    """Return what brings the colours of `new` to those of `old`, the same moments in two windows.

    Blocks that differ by more than three times the median (something moves otherwise) do not count.
    """
    target, have = _blocks(old), _blocks(new)
    kept = np.ones(len(have), bool)
    for _ in range(3):
        found = _matched(target[kept], have[kept])
        rest = np.abs(found.of(have) - target).max(axis=1)
        kept = rest <= 3 * np.median(rest)
    if np.median(rest) > LARGEST_REST:
        return Correction(reason=f"the frames differ by {255 * np.median(rest):.0f} levels in more than colours")
    return _bounded(found)


def apply(frames: Frames, maps: Float[np.ndarray, "f 3 4"]) -> Frames:
    """Return the frames, each in the colours that its map gives."""
    out = np.empty_like(frames)
    for n, (frame, m) in enumerate(zip(frames, maps.astype(np.float32), strict=True)):
        planes = [frame[..., c].astype(np.float32) for c in range(3)]
        for c in range(3):  # not as a matrix product: sums of BLAS may depend on the number of threads
            level = m[c, 0] * planes[0] + m[c, 1] * planes[1] + m[c, 2] * planes[2] + m[c, 3] * FULL
            out[n, ..., c] = np.rint(level).clip(0, FULL)
    return out


def hand_over(number: int, start: int, old: Given, came: Given, corrected: Given, found: Correction) -> HandOver:
    """Return the record of a window.

    Args:
        number, start: of the window.
        old: the frames that it was given.
        came: the same moments as it gave them back.
        corrected: the same after the correction.
        found: the correction.
    """
    given, before, after = (_grade.grade(to_shallow(frames)) for frames in (old, came, corrected))
    return HandOver(
        number, start, _grade.distance(given, before), _grade.distance(given, after),
        list(found.gain), [255 * s for s in found.shift], found.reason,
    )  # fmt: skip


def _blocks(frames: Frames) -> Float[np.ndarray, "n 3"]:
    """Return the mean Y', Cb and Cr of each block of each frame."""
    f, h, w, _ = frames.shape
    down, across = h // BLOCK, w // BLOCK
    blocks = frames[:, : down * BLOCK, : across * BLOCK].reshape(f, down, BLOCK, across, BLOCK, 3)
    red, green, blue = np.moveaxis(blocks.mean(axis=(2, 4), dtype=np.float64).reshape(-1, 3) / 65535, 1, 0)
    return np.stack([row[0] * red + row[1] * green + row[2] * blue for row in TO_YCBCR], axis=1)


def _matched(target: Float[np.ndarray, "n 3"], have: Float[np.ndarray, "m 3"]) -> Correction:
    centre = have.mean(axis=0)
    gain = (target.std(axis=0) + STEADY) / (have.std(axis=0) + STEADY)
    return Correction(_triple(centre), _triple(gain), _triple(target.mean(axis=0) - centre))


def _bounded(found: Correction) -> Correction:
    shift = max(abs(s) for s in found.shift)
    if shift > LARGEST_SHIFT:
        return Correction(reason=f"the means are {255 * shift:.0f} levels apart: another scene or light")
    return replace(found, gain=_triple(np.clip(found.gain, 1 / LARGEST_GAIN, LARGEST_GAIN)))


def _triple(values: np.ndarray) -> Triple:
    first, second, third = (float(v) for v in values)
    return first, second, third
