"""Does a chained shot keep its colours and its motion, and do its joins show? `python benchmarks/drift.py`.

Shots of 161 frames by nano, from first frames that this project renders (every domain in turn, most of which nano was
not trained on), each once plainly chained (the last frame is handed on, colours as they come) and once in every other
way, with the same seeds. Prints one row a way: means over shots, and the paired difference to plain chaining with its
95 % interval. About 10 s of one core a shot where one frame is handed on, 13 where five are.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from cinetune.footage.procedural import DOMAINS, RenderedClip, render_clip
from cinetune.generate import drift, expansion, joins
from cinetune.generate.studio import open_studio
from cinetune.generate.window import Frames, Sampling, Studio
from cinetune.models._resolve import find_model
from cinetune.ops.statistics import bootstrap_mean
from cinetune.ops.video import deepen, to_shallow

FPS = 16
WINDOW, HEIGHT, WIDTH = 17, 64, 96
SEED = 900
WAYS: tuple[tuple[int, float | None], ...] = ((1, None), (5, None), (5, 0.0), (1, drift.ANCHOR), (5, drift.ANCHOR))
"""Overlap, and anchor of `drift.correct`; None corrects nothing. The first is plain chaining."""


@dataclass(frozen=True)
class Found:
    """What was measured of one shot."""

    grade: float
    """Distance of the last second's grade from the first's, CIELAB units."""
    still: float
    """Median over blocks of 8x8 pixels of the change of colour between those seconds, CIELAB units: what moves across
    the picture does not count."""
    cast: float | None
    """Mean of all hand-overs, see `drift.HandOver`; None where none was measured."""
    motion: float
    """Mean difference of neighbouring frames in the last three seconds, over that of the first."""
    joins: list[joins.Join]
    """Judged against this shot alone, as if it were the film."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", type=int, default=10)
    parser.add_argument("--frames", type=int, default=161)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    clips = [
        render_clip(DOMAINS[n % len(DOMAINS)], seed=SEED + n, frames=1, height=HEIGHT, width=WIDTH, fps=FPS)
        for n in range(asked.shots)
    ]
    size, sampling = (WINDOW, HEIGHT, WIDTH), Sampling(12, 1.0, 3.0)
    prompts = [clip.caption for clip in clips]
    studio = open_studio(
        find_model("nano"), [], sampling, size, prompts, device=torch.device("cpu"), dtype=torch.float32
    )
    print(f"{asked.shots} shots of {asked.frames} frames")
    print("| overlap | anchor | windows | cast | grade | still colours | motion late / early | joins |")
    print("|---|---|---|---|---|---|---|---|")
    plain: list[Found] = []
    for overlap, anchor in WAYS:
        spans = expansion.plan_windows(asked.frames, WINDOW, overlap)
        found = [_measure(studio, spans, clip, SEED + n, anchor) for n, clip in enumerate(clips)]
        plain = plain or found
        print(_row(overlap, anchor, len(spans), found, plain), flush=True)


def _measure(
    studio: Studio, spans: Sequence[expansion.Span], clip: RenderedClip, seed: int, anchor: float | None
) -> Found:
    overs: list[drift.HandOver] = []
    shown = expansion.make_shot(
        studio, spans, deepen(clip.frames), clip.caption, seed,
        load=lambda _: None, save=lambda number, window: window, anchor=anchor, told=overs.append,
    )  # fmt: skip
    frames = np.concatenate(list(shown))
    grades, steps = drift.Grades(), joins.Steps()
    grades.add(frames)
    steps.add(frames)
    values = np.array(steps.values)
    last = grades.drift(clip.caption, FPS).last
    assert last is not None
    return Found(
        grade=last,
        still=float(np.linalg.norm(np.median(_blocks(frames[-FPS:]) - _blocks(frames[:FPS]), axis=0))),
        cast=float(np.mean([over.cast for over in overs])) if overs else None,
        motion=float(values[-3 * FPS :].mean() / values[:FPS].mean()),
        joins=joins.find_joins([joins.Seen(clip.caption, 0.0, FPS, spans, values)]),
    )


def _blocks(frames: Frames) -> np.ndarray:
    """Mean colour of each block over all frames, L*a*b*, n x 3."""
    mean = to_shallow(frames).astype(np.float32).mean(axis=0) / 255
    small = cv2.resize(mean, (WIDTH // 8, HEIGHT // 8), interpolation=cv2.INTER_AREA)
    lab: np.ndarray = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    return lab


def _row(overlap: int, anchor: float | None, windows: int, found: list[Found], plain: list[Found]) -> str:
    cells = [str(overlap), "no correction" if anchor is None else f"{anchor:g}", str(windows)]
    casts = [f.cast for f in found if f.cast is not None]
    cells.append(f"{np.mean(casts):.2f}" if casts else "not measured")
    for name in ("grade", "still", "motion"):
        values, base = (np.array([getattr(f, name) for f in every]) for every in (found, plain))
        cell = f"{values.mean():.2f}"
        if found is not plain:
            low, high = bootstrap_mean(values - base, level=0.95, resamples=2000, seed=0)
            cell += f" ({(values - base).mean():+.2f} [{low:.2f}, {high:.2f}])"
        cells.append(cell)
    cells.append(str(joins.judge([join for f in found for join in f.joins])))
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
