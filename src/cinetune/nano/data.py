"""Rendered clips on disk: frames, foreground masks and captions, made once and memory-mapped."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from cinetune.console import progress
from cinetune.files import write_text
from cinetune.footage.procedural import render_clip

FRAMES, HEIGHT, WIDTH = 17, 64, 96


@dataclass(frozen=True)
class Clips:
    """n rendered clips."""

    frames: UInt8[np.ndarray, "n 17 64 96 3"]
    foreground: Bool[np.ndarray, "n 17 64 96"]
    captions: list[str]
    subjects: list[str]

    def first(self, count: int) -> "Clips":
        """Return the first `count` of them."""
        return Clips(self.frames[:count], self.foreground[:count], self.captions[:count], self.subjects[:count])


def rendered(folder: Path, *, name: str, domains: tuple[str, ...], count: int, seed: int) -> Clips:
    """Render `count` clips, the domains in turn, or open them where a former call finished."""
    paths = {kind: folder / f"{name}.{kind}.npy" for kind in ("frames", "foreground")}
    listing = folder / f"{name}.json"
    if not listing.is_file():  # written last, so that its presence says that the arrays are whole
        folder.mkdir(parents=True, exist_ok=True)
        shape = (count, FRAMES, HEIGHT, WIDTH)
        frames = np.lib.format.open_memmap(paths["frames"], "w+", np.uint8, (*shape, 3))
        masks = np.lib.format.open_memmap(paths["foreground"], "w+", np.bool_, shape)
        captions, subjects = [], []
        with progress(f"render {name}", count) as advance:
            for index in range(count):
                clip = render_clip(domains[index % len(domains)], seed=seed + index)
                frames[index], masks[index] = clip.frames, clip.foreground
                captions.append(clip.caption)
                subjects.append(clip.subject)
                advance(1)
        frames.flush()
        masks.flush()
        write_text(listing, json.dumps({"captions": captions, "subjects": subjects}))
    said = json.loads(listing.read_text(encoding="utf-8"))
    return Clips(
        frames=np.load(paths["frames"], mmap_mode="r"),
        foreground=np.load(paths["foreground"], mmap_mode="r"),
        captions=said["captions"],
        subjects=said["subjects"],
    )
