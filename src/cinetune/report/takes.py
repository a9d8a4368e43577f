"""The moving part of the page: held-out clips and showcase shots, as tiles with their media written."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cinetune.records import Clip
from cinetune.report.comparison import ARMS, Comparison, Row, spread
from cinetune.report.media import MediaFolder, Still, Video, read_frames, strip
from cinetune.report.numerals import fixed
from cinetune.report.run_files import RunFiles

TRAINING_STRIPS = 8
"""Training clips on the contact sheet."""
TITLES = {"base": "base", "tuned": "tuned", "static": "held still"}


Step = Callable[[str], None]
"""Called with the name of a take when its media are written."""


@dataclass(frozen=True)
class Tile:
    """One picture or video of a take."""

    role: str
    """"given", "truth", "keyframe" or an arm."""
    title: str
    alt: str
    media: Video | Still
    value: str = ""
    """Its number in the ordering metric, as text."""

    @property
    def plays(self) -> bool:
        """Return whether this is a video."""
        return isinstance(self.media, Video)


@dataclass(frozen=True)
class Strip:
    """A few frames of one video, side by side."""

    role: str
    title: str
    alt: str
    still: Still


@dataclass(frozen=True)
class Take:
    """One row of things that play together."""

    source: str
    caption: str
    place: str
    difference: str
    tiles: tuple[Tile, ...]
    strips: tuple[Strip, ...]
    """For the contact sheet; empty where the take is not on it."""
    open: bool

    @property
    def video(self) -> Video:
        """Return the video that leads; the others follow it."""
        return next(tile.media for tile in self.tiles if isinstance(tile.media, Video))


def held_out_takes(run: RunFiles, comparison: Comparison, media: MediaFolder, step: Step) -> list[Take]:
    """Write the media of every held-out clip; order and openness are those of the comparison."""
    takes = []
    for number, row in enumerate(comparison.rows, start=1):
        takes.append(_held_out(run, row, comparison.metric, f"clip-{number:02d}", media))
        step(row.source)
    return takes


def showcase_takes(run: RunFiles, media: MediaFolder, step: Step) -> list[Take]:
    """Write the media of every showcase shot: for each arm its keyframe, where one was kept, and the shot."""
    takes = []
    for number, source in enumerate(dict.fromkeys(s.source for s in run.showcase), start=1):
        samples = {s.arm: s for s in run.showcase if s.source == source}
        name, tiles = f"shot-{number:02d}", []
        for arm in (arm for arm in ARMS if arm in samples):
            frames, fps = read_frames(run.folder / "generate", samples[arm].video)
            keyframe = run.folder / "generate" / "keyframes" / f"{samples[arm].id}.png"
            if keyframe.is_file():
                with Image.open(keyframe) as image:
                    still = media.first_frame(f"{name}-{arm}-keyframe", np.asarray(image.convert("RGB")))
                tiles.append(Tile("keyframe", "keyframe", f"Keyframe of {source}, {arm} model", still))
            video = media.video(f"{name}-{arm}", frames, fps)
            tiles.append(Tile(arm, TITLES[arm], f"{source} by the {arm} model", video))
        caption = next(iter(samples.values())).prompt
        takes.append(Take(source, caption, source, "", tuple(tiles), (), True))
        step(source)
    return takes


def training_strips(run: RunFiles, media: MediaFolder) -> list[tuple[Clip, Strip]]:
    """Write strips of training clips, spread evenly over the footage."""
    clips = [c for c in run.clips if c.split == "train"]
    strips = []
    for number, position in enumerate(spread(len(clips), TRAINING_STRIPS), start=1):
        clip = clips[position]
        frames, _ = read_frames(run.folder / "footage", clip.video)
        still = media.still(f"training-{number:02d}", strip(frames))
        strips.append((clip, Strip("truth", clip.id, f"Training clip {clip.id}: {clip.caption}", still)))
    return strips


def _held_out(run: RunFiles, row: Row, metric: str, name: str, media: MediaFolder) -> Take:
    generate = run.folder / "generate"
    clip = run.clip(row.source)
    caption = clip.caption if clip else next(iter(row.samples.values())).prompt
    digits = 3
    tiles: list[Tile] = []
    strips: list[Strip] = []

    def add(role: str, title: str, path: str, value: str = "") -> None:
        frames, fps = read_frames(generate, path)
        if role == "truth":
            given = media.first_frame(f"{name}-given", frames[0])
            tiles.append(Tile("given", "given", f"First frame of {row.source}, which every model was given", given))
        video = media.video(f"{name}-{role}", frames, fps)
        tiles.append(Tile(role, title, f"{row.source}, {title}: {caption}", video, value))
        if row.open and role != "static":
            alt = f"Frames of {row.source}, {title}"
            strips.append(Strip(role, title, alt, media.still(f"{name}-{role}-strip", strip(frames))))

    reference = next((s.reference for s in row.samples.values() if s.reference), "")
    if reference:
        add("truth", "truth", reference)
    for arm, sample in row.samples.items():
        value = fixed(row.values[arm], digits) if arm in row.values else ""
        add(arm, TITLES[arm], sample.video, f"{metric} {value}" if value else "")
    difference = "" if row.difference is None else f"{row.difference:+.{digits}f}"
    return Take(row.source, caption, row.place, difference, tuple(tiles), tuple(strips), row.open)
