"""Fixed windows of shots: which ones there are, and their frames, chosen by timestamp so that speed stays real."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from cinetune.footage.video_io import read_frames
from cinetune.recipe import Footage

Frame = UInt8[np.ndarray, "h w 3"]
Frames = UInt8[np.ndarray, "f h w 3"]

BLANK = 2.0  # grey levels; a window of less deviation is black, white or one plain colour
_SAME_TIME = 1.5e-3  # s; Matroska and WebM round times to whole milliseconds


@dataclass(frozen=True)
class Window:
    """A piece of one shot, as long as a clip."""

    shot: int
    """Number of the shot in its film."""
    start: float
    """Time of the first frame, s."""
    end: float
    """Start of what comes after: start + frames / fps, s."""


def plan_windows(spans: Float64[np.ndarray, "shots 2"], frame_s: float, recipe: Footage) -> list[Window]:
    """Return every window that lies in one shot, at a distance of one frame from each cut.

    The frames beside a cut are left out because compression and half-frame cuts smear one shot into the other. Of one
    frame there is one window, in the middle of the shot: its neighbours show the same.

    Args:
        spans: start and end of each shot of a film, s.
        frame_s: length of one frame of the film, s.
        recipe: frames, fps and stride.
    """
    length, reach = recipe.frames / recipe.fps, (recipe.frames - 1) / recipe.fps
    windows = []
    for shot, (start, end) in enumerate(spans):
        first = start + (frame_s if shot > 0 else 0)
        last = end - frame_s * (2 if shot < len(spans) - 1 else 1)  # time of the last frame that may be used
        if recipe.frames == 1 and first <= last:
            first = last = (first + last) / 2
        count = int((last - first - reach + _SAME_TIME) // (recipe.stride * length)) + 1
        for n in range(max(0, count)):
            at = round(float(first + n * recipe.stride * length), 6)
            windows.append(Window(shot, at, round(at + length, 6)))
    return windows


def seconds_needed(frame_s: float, recipe: Footage) -> float:
    """Return the length of the shortest shot between two cuts that holds one window, s."""
    return (recipe.frames - 1) / recipe.fps + 3 * frame_s


def fit(frame: Frame, height: int, width: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """Scale to cover height x width pixels and cut off what stands over, the same on both sides; antialiased."""
    h, w = frame.shape[:2]
    keep_h, keep_w = covered(h, w, height, width)
    top, left = (h - keep_h) // 2, (w - keep_w) // 2
    part = frame[top : top + keep_h, left : left + keep_w]
    if part.shape[:2] == (height, width):
        return part
    shrinking = keep_h >= height and keep_w >= width
    how = cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(part, (width, height), interpolation=how), np.uint8)


def covered(h: int, w: int, height: int, width: int) -> tuple[int, int]:
    """Return height and width of the centre of an h x w frame that has the aspect of height x width; pixels."""
    return min(h, max(1, round(w * height / width))), min(w, max(1, round(h * width / height)))


def cropped(h: int, w: int, height: int, width: int) -> str:
    """Return what `fit` cuts off in words, such as "11 % of the height", or "" for less than half a percent."""
    keep_h, keep_w = covered(h, w, height, width)
    share, side = max((1 - keep_h / h, "height"), (1 - keep_w / w, "width"))
    return f"{share:.0%} of the {side}".replace("%", " %") if share >= 0.005 else ""


@dataclass
class _Filling:
    window: Window
    times: Float64[np.ndarray, " f"]
    frames: list[Frame] = field(default_factory=list)


def cut_windows(
    path: Path, span: tuple[float, float], windows: Sequence[Window], recipe: Footage
) -> Iterator[tuple[Window, Frames]]:
    """Decode one shot once and yield the frames of the given windows, in order of their start.

    A frame of a window is the one shown at its time: the last whose timestamp is not after it. A film of fewer
    frames per second than the recipe's repeats frames, one of more leaves some out.

    Args:
        path: the film.
        span: start and end of the shot, s.
        windows: windows of this shot.
        recipe: frames, fps, height and width.

    Raises:
        FootageError: the film cannot be read.
    """
    steps = np.arange(recipe.frames) / recipe.fps
    waiting = [_Filling(w, w.start + steps) for w in sorted(windows, key=lambda w: w.start)]
    shown: Frame | None = None
    for time, frame in read_frames(path, start=span[0], end=span[1]):
        if shown is not None:
            yield from _show(waiting, shown, time - _SAME_TIME, recipe)
        if not waiting:
            return
        shown = frame
    if shown is not None:
        yield from _show(waiting, shown, np.inf, recipe)


def _show(waiting: list[_Filling], shown: Frame, until: float, recipe: Footage) -> Iterator[tuple[Window, Frames]]:
    """Give the frame on show to every window that has a sample before `until`; yield and remove the full ones."""
    fitted: Frame | None = None
    for filling in waiting[:]:
        if filling.times[0] >= until:
            break
        while len(filling.frames) < recipe.frames and filling.times[len(filling.frames)] < until:
            fitted = fit(shown, recipe.height, recipe.width) if fitted is None else fitted
            filling.frames.append(fitted)
        if len(filling.frames) == recipe.frames:
            waiting.remove(filling)
            yield filling.window, np.stack(filling.frames)


def deviation(frames: Frames) -> float:
    """Return the standard deviation of all grey values of a window, grey levels."""
    return float(np.std(np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])))


def motion(frames: Frames) -> float:
    """Return the mean absolute difference of neighbouring frames, grey levels 0..255; 0 of a still picture."""
    if len(frames) == 1:
        return 0.0
    return float(np.mean([cv2.absdiff(a, b).mean() for a, b in pairwise(frames)]))
