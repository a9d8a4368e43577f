"""A shot longer than the network's window: windows that overlap, each going on from what the one before shows.

Every window is saved as it came from the network before anything is computed from it, and all that follows (colours,
joins, what the next window is told) is computed from that. So a shot that was stopped anywhere goes on to the same
bytes, and no more than one window is made again.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt16

from cinetune.errors import RecipeError, RunError
from cinetune.generate.drift import ANCHOR, Given, HandOver, correct, hand_over
from cinetune.generate.window import Frames, Picture, Window
from cinetune.models._condition import TEMPORAL

Make = Callable[[Window], Frames]
"""A `Studio`."""
Load = Callable[[int], Frames | None]
"""What was saved under a window's number, bit for bit, or None."""
Save = Callable[[int, Frames], Frames]
"""Keeps a window under its number, and returns it as `load` will: the same on all processes that made it."""


@dataclass(frozen=True)
class Span:
    """One window of a shot."""

    start: int
    """The frame of the shot that it begins with."""
    frames: int
    """4n + 1."""
    overlap: int
    """Frames that are there already when it is made: the shared ones with the window before; 0 for the first."""
    needs: int | None
    """The window that must be there first; None where nothing must."""
    cut: int = 0
    """Frames at its end that are not shown: a shot may have any length, a window may not."""

    @property
    def end(self) -> int:
        """The frame after the last one that is shown."""
        return self.start + self.frames - self.cut


def plan_windows(frames: int, window: int, overlap: int) -> list[Span]:
    """Return the least number of windows that make a shot, all as long as each other or four frames apart.

    Balanced, because a short last window costs as much in what it must be told as a long one, shows the network a
    length it was not trained on, and is one more shape to compile.

    Args:
        frames: length of the shot, 1 or more; up to three frames more are made and cut.
        window: frames of the longest window, 4n + 1.
        overlap: frames that neighbours share: 1 hands on one picture, 4m + 1 hands on motion too.

    Raises:
        RecipeError: a length is not of that form, or the overlap leaves nothing new in a window.
    """
    for name, length in (("window", window), ("overlap", overlap)):
        if length < 1 or length % TEMPORAL != 1:
            below = max(1, (length - 1) // TEMPORAL * TEMPORAL + 1)
            raise RecipeError(f"{name} = {length}: give 4n + 1 frames, such as {below} or {below + TEMPORAL}")
    if frames < 1:
        raise RecipeError(f"a shot of {frames} frames; give 1 or more")
    most, shared, whole = (n // TEMPORAL for n in (window, overlap, frames + TEMPORAL - 2))  # of latent frames
    if whole <= most:
        return [Span(0, whole * TEMPORAL + 1, 0, None, whole * TEMPORAL + 1 - frames)]
    if shared >= most:
        raise RecipeError(f"overlap = {overlap} leaves nothing new in a window of {window} frames; give less")
    count = -(-(whole - shared) // (most - shared))
    least, longer = divmod(whole - shared, count)
    spans, start = [], 0
    for number in range(count):
        length = (shared + least + (number < longer)) * TEMPORAL + 1
        spans.append(Span(start, length, overlap if number else 0, number - 1 if number else None))
        start += length - overlap
    final = spans[-1]
    return [*spans[:-1], Span(final.start, final.frames, overlap, final.needs, final.end - frames)]


def make_shot(
    make: Make,
    spans: Sequence[Span],
    begin: Given | None,
    prompt: str,
    seed: int,
    *,
    load: Load,
    save: Save,
    seen: UInt16[np.ndarray, "_h _w 3"] | None = None,
    last: Picture | None = None,
    anchor: float | None = ANCHOR,
    told: Callable[[HandOver], None] = lambda _: None,
) -> Iterator[Frames]:
    """Yield the shot's frames, in pieces, as soon as nothing that is still to be made can change them.

    What two windows share is faded from the old to the new one, in display R'G'B': frame i of n is (i + 1) / (n + 1)
    new. A single shared frame stays the old window's. No more than a few windows are in memory.

    Args:
        make: makes a window.
        spans: of `plan_windows`.
        begin: what the shot goes on from, its first frames: a keyframe (1 h w 3), or the end of another shot, 4m + 1
            frames. They are shown as the first window gives them back. None for a model that takes none.
        prompt: of the whole shot.
        seed: of the shot; each window has one that follows from it (`seed_of`).
        load, save: of a window by its number.
        seen: what the image encoder sees of the keyframe, where that has another size.
        last: the picture that the shot ends on.
        anchor: see `drift.correct`; the first window, which nothing was handed on to, is not pulled. None leaves all
            colours as they come (plain chaining).
        told: is called for each window with what it did to the colours it was given.

    Raises:
        RecipeError: `last` would be cut off, or `begin` fills the first window.
        RunError: a saved window is not one of this shot.
    """
    if last is not None and spans[-1].cut:
        whole = spans[-1].end + spans[-1].cut
        raise RecipeError(f"a shot of {spans[-1].end} frames ends on no picture; give {whole - TEMPORAL} or {whole}")
    if begin is not None and len(begin) > max(1, spans[0].frames - 1):
        raise RecipeError(f"{len(begin)} given frames leave nothing new in a first window of {spans[0].frames}")
    return _shown(make, spans, begin, prompt, seed, load, save, seen, last, anchor, told)


def _shown(
    make: Make,
    spans: Sequence[Span],
    begin: Given | None,
    prompt: str,
    seed: int,
    load: Load,
    save: Save,
    seen: UInt16[np.ndarray, "_h _w 3"] | None,
    last: Picture | None,
    anchor: float | None,
    told: Callable[[HandOver], None],
) -> Iterator[Frames]:
    given, reference = begin, None if begin is None else begin[:1]
    for number, span in enumerate(spans):
        final = number == len(spans) - 1
        end = last if final else None
        window = load(number)
        if window is None:
            first = None if given is None else given[0]
            known = given if given is not None and len(given) > 1 else None
            own = seed_of(seed, number)
            picture = None if number else seen
            asked = Window(prompt, own, span.frames, first=first, last=end, seen=picture, known=known)
            window = save(number, make(asked))
        if len(window) != span.frames or (given is not None and window.shape[1:] != given.shape[1:]):
            raise RunError(f"window {number + 1} was saved with {window.shape[:3]} frames, height and width, of which "
                           f"{span.frames} frames are wanted; delete what is saved of this shot")  # fmt: skip
        if given is None or reference is None:
            reference = window[:1].copy()
        else:
            old, came = given, window[: len(given)]
            if anchor is not None:
                pull = anchor if number else 0.0
                window, found = correct(old, window, reference=reference, anchor=pull, end=end)
                told(hand_over(number, span.start, old, came, window[: len(old)], found))
        shown = _joined(given, window) if given is not None and number else window
        ready = len(shown) - span.cut if final else len(shown) - spans[number + 1].overlap
        yield shown[:ready]
        given = shown[ready:]


def seed_of(seed: int, number: int) -> int:
    """Return the seed of a window of a shot: the first has the shot's own, the others 31 bits of a hash."""
    return seed if not number else int(hashlib.sha256(f"{seed}:{number}".encode()).hexdigest()[:8], 16) % 2**31


def _joined(old: Given, new: Frames) -> Frames:
    """Return the frames from the first of `old` on; `new` begins with the same moments."""
    shared = len(old)
    if shared == 1:
        return np.concatenate([old, new[1:]])
    share = ((np.arange(shared) + 1) / (shared + 1)).astype(np.float32)
    faded = [
        np.rint((1 - s) * a.astype(np.float32) + s * b.astype(np.float32)).astype(np.uint16)
        for s, a, b in zip(share, old, new[:shared], strict=True)
    ]
    return np.concatenate([np.stack(faded), new[shared:]])
