"""The clips of a comparison: rendered, or cut from real footage, as H.264 files of one size."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from cinetune.errors import FootageError
from cinetune.footage import films
from cinetune.footage.procedural import DOMAINS, render_clip
from cinetune.footage.video_io import probe, read_window, write_video
from cinetune.footage.windows import fit

FPS = 16.0


@dataclass(frozen=True)
class Clips:
    """Two sets of the same length; videos at the same place are pairs."""

    generated: list[Path]
    real: list[Path]
    captions: list[str]
    """Of the pairs."""

    @property
    def every(self) -> list[tuple[Path, str]]:
        """All videos with their captions, the generated ones first."""
        return list(zip([*self.generated, *self.real], self.captions * 2, strict=True))


class Decoder:
    """Reads a video anew each time it is asked, as separate tools do, and adds up the seconds."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.seconds = 0.0

    def __call__(self, path: Path) -> np.ndarray:
        """Return all frames, uint8, f h w 3, with a single thread like `cinetune evaluate`."""
        began = time.perf_counter()
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="rgb24", threads=1) for frame in container.decode(video=0)]
        whole = np.stack(frames)
        self.seconds += time.perf_counter() - began
        return whole


def make(folder: Path, *, footage: Path | None, count: int, frames: int, height: int, width: int, seed: int) -> Clips:
    """Write `count` pairs into `folder`, rendered or cut from the films in `footage`.

    Raises:
        FootageError: the footage is too short, or a film cannot be read.
    """
    source = _rendered(seed, frames, height, width) if footage is None else _cut(footage, frames, height, width)
    sets: dict[str, list[Path]] = {"real": [], "generated": []}
    captions: list[str] = []
    for arm, paths in sets.items():
        (folder / arm).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            path = folder / arm / f"{number:04}.mp4"
            picture = next(source, None)
            if picture is None:
                raise FootageError(f"{footage}: too short for 2 x {count} windows of {frames} frames; give more films")
            pixels, caption = picture
            write_video(path, pixels, FPS)
            paths.append(path)
            captions.append(caption)
    return Clips(sets["generated"], sets["real"], captions[:count])


def _rendered(seed: int, frames: int, height: int, width: int) -> Iterator[tuple[np.ndarray, str]]:
    while True:
        clip = render_clip(DOMAINS[seed % len(DOMAINS)], seed=seed, frames=frames, height=height, width=width, fps=FPS)
        yield clip.frames, clip.caption
        seed += 1


def _cut(footage: Path, frames: int, height: int, width: int) -> Iterator[tuple[np.ndarray, str]]:
    """Yield windows side by side, all of one film before those of the next."""
    for film in sorted(path for path in footage.rglob("*") if path.suffix.lower() in films.SUFFIXES):
        length = frames / FPS
        for k in range(int(probe(film).seconds / length)):
            window = read_window(film, start=k * length, frames=frames, fps=FPS)
            yield np.stack([fit(frame, height, width) for frame in window]), "A scene of a film."
