"""The `prepare` stage: films in, footage/ of a run folder out: shots, clips, captions, splits and cached latents.

Every file is whole or absent, and the two record files come last. Killed at any moment, the stage goes on where it
was: a scan, a clip or a cache that is there and sound is kept, and the end is the same, byte for byte.
"""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from cinetune import console
from cinetune.errors import FootageError, RecordError
from cinetune.files import sha256, sweep, write_text
from cinetune.footage.cache import encode_clip, encode_empty, read_cache, read_label, write_cache
from cinetune.footage.captions import describe, line_for
from cinetune.footage.films import Film, find_films, open_films
from cinetune.footage.pictures import read_picture
from cinetune.footage.plan import Planned, Source, name_shots, plan, plan_buckets, scene_of, still_pictures
from cinetune.footage.shots import read_scan, scan_film, write_scan
from cinetune.footage.splits import Splits, split
from cinetune.footage.video_io import read_video, write_video
from cinetune.footage.windows import BLANK, Window, cut_windows, deviation, fit, motion
from cinetune.models._contract import VideoModel
from cinetune.recipe import Recipe, Size
from cinetune.records import Clip, Shot, read_records, write_records

__all__ = ["Prepared", "find_films", "prepare"]

VERSION = 1
"""Of everything here that decides what a film becomes; a higher one makes old scans and results count as absent."""


@dataclass(frozen=True)
class Prepared:
    """What the stage made, in numbers."""

    films: int
    pictures: int
    """Still pictures."""
    shots: int
    scenes: int
    train: int
    """Clips."""
    validation: int
    test: int
    blank: int
    """Windows left out because they show one plain colour."""
    overlapping: int
    """Windows left out because they overlap one of another split."""
    surplus: int
    """Held-out windows left out because of footage.max_test."""


@dataclass(frozen=True)
class _Cut:
    planned: Planned
    caption: str
    caption_source: str
    motion: float


def prepare(films: Sequence[Path], out: Path, recipe: Recipe, model: VideoModel, *, device: torch.device) -> Prepared:
    """Turn films into the clips, captions, splits and cached latents of the run folder `out`.

    Args:
        films: files, folders of films, or patterns such as *.mp4.
        out: the run folder; everything is written to its folder footage.
        recipe: its sections footage and seed count.
        model: encodes the clips.
        device: the encoders run here.

    Raises:
        FootageError: a film cannot be read, its captions are damaged, or there is too little material.
        RecipeError: the model cannot make clips of this size.
        RunError: the folder cannot be written.
        WeightsError: the model's weights are missing or damaged.
    """
    settings = recipe.footage
    for size in settings.sizes:
        model.check_size(*size)
    sources, repeated = open_films(films)
    footage, fingerprint = out / "footage", model.fingerprint()
    key = _key(sources, recipe, fingerprint)
    before = _finished(footage, key)
    if before is not None:
        console.done(f"prepare: finished before: {_words(before)} in {footage}")
        return before
    if footage.is_dir():
        sweep(footage)
    for name in repeated:
        console.note(f"prepare: {name} left out, the same bytes as another film")

    pictures = still_pictures(sources, settings)
    scanned = _scan([film for film in sources if not film.picture], footage / "scans")
    planned = plan(scanned, settings)
    cuts = _cut(planned, footage)
    if not cuts:
        raise FootageError(
            f"all {len(planned)} windows are blank (one plain colour); give footage that shows something"
        )
    pieces = [cut.planned.piece for cut in cuts]
    splits = split(pieces, held_out=settings.held_out, max_test=settings.max_test, seed=recipe.seed)
    for line in splits.notes:
        console.note(line)
    parts = splits.split
    if settings.buckets:
        trained = plan_buckets(scanned, pictures, pieces, parts, settings)
        known = {one.id for one in planned}
        more = [one for one in trained if one.id not in known]
        planned, cuts = planned + more, cuts + _cut(more, footage)
        held = {id_: part for id_, part in parts.items() if part != "train"}
        parts = held | dict.fromkeys((one.id for one in trained), "train")
    clips = [_clip(cut, parts[cut.planned.id]) for cut in cuts if cut.planned.id in parts]
    if settings.buckets:
        count = Counter(Size(clip.frames, clip.height, clip.width) for clip in clips if clip.split == "train")
        console.note("prepare: training clips: " + ", ".join(f"{count[size]} of {size}" for size in settings.sizes))
    _encode(clips, footage, model, fingerprint, device)

    write_records(footage / "shots.jsonl", [shot for source in scanned for shot in source.shots])
    write_records(footage / "clips.jsonl", clips)
    _remove_strangers(footage, clips, sources)
    prepared = _count(scanned, pictures, clips, len(planned) - len(cuts), splits)
    told = {"key": key, **dataclasses.asdict(prepared)}
    write_text(footage / "prepared.json", json.dumps(told, indent=2) + "\n")
    console.done(f"prepare: {_words(prepared)} in {footage}")
    return prepared


def _key(sources: Sequence[Film], recipe: Recipe, fingerprint: str) -> str:
    """A hash of all that decides the result."""
    told = [
        VERSION, recipe.footage.model_dump(mode="json"), recipe.seed, fingerprint,
        [[film.path.name, film.digest, [dataclasses.astuple(line) for line in film.lines]] for film in sources],
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _finished(footage: Path, key: str) -> Prepared | None:
    """Return what a former call made, if it was of the same things and every file of it is still as it was."""
    try:
        told = json.loads((footage / "prepared.json").read_text(encoding="utf-8"))
        if told.pop("key") != key:
            return None
        prepared = Prepared(**told)
        read_records(footage / "shots.jsonl", Shot)
        for clip in read_records(footage / "clips.jsonl", Clip):
            read_cache(footage / clip.cache, {"clip": clip.id, "video_sha256": sha256(footage / clip.video)})
        read_cache(footage / "cache" / "empty.safetensors")
    except (OSError, ValueError, KeyError, TypeError, RecordError):
        return None
    return prepared


def _scan(films: Sequence[Film], folder: Path) -> list[Source]:
    """Find the shots of every film.

    Raises:
        FootageError: a film is damaged, or there is only one shot in all.
    """
    if not films:
        raise FootageError("only still pictures given, and held-out clips are videos; add a film")
    sources = []
    with console.progress("find shots (seconds of film)", round(sum(film.info.seconds for film in films))) as advance:
        for film in films:
            known = sorted({t for line in film.lines for t in (line.start, line.end) if 0 < t < float("inf")})
            key = json.dumps([VERSION, film.digest, known])
            path = folder / f"{film.id}.safetensors"
            scan = read_scan(path, key)
            if scan is None:
                scan = scan_film(film.path, known_cuts=known, advance=advance)
                write_scan(path, scan, key)
            else:
                advance(film.info.seconds)
            sources.append(name_shots(film, scan))
    if sum(len(source.shots) for source in sources) < 2:
        raise FootageError(
            f"{films[0].path}: only one shot, and held-out clips must come from another shot than training clips; "
            "add a second film, or give one with cuts"
        )
    return sources


def _cut(planned: Sequence[Planned], footage: Path) -> list[_Cut]:
    """Write the video of every window that shows something, and measure it; the windows of a shot have one size.

    Raises:
        FootageError: a film is damaged.
    """
    done: dict[str, _Cut] = {}
    by_shot: dict[str, list[Planned]] = {}
    mended = 0
    for one in planned:
        by_shot.setdefault(one.shot, []).append(one)
    with console.progress("cut clips", len(planned)) as advance:
        for same in by_shot.values():
            missing: dict[Window, Planned] = {}
            for one in same:
                frames = _read_clip(footage, one)
                if frames is None:
                    missing[one.window] = one
                    mended += (footage / one.video).exists()
                else:
                    done[one.id] = _measure(one, frames)
                    advance(1)
            if not missing:
                continue
            for window, frames in _decoded(same[0], list(missing)):
                one = missing[window]
                if deviation(frames) >= BLANK:
                    write_video(footage / one.video, frames, one.settings.fps, lossless=True)
                    done[one.id] = _measure(one, frames)
                advance(1)
    if mended:
        console.note(f"prepare: {mended} clip files were damaged and have been cut again")
    return [done[one.id] for one in planned if one.id in done]


def _decoded(one: Planned, windows: Sequence[Window]) -> Iterator[tuple[Window, UInt8[np.ndarray, "f h w 3"]]]:
    """Yield the frames of windows of one shot, or of a picture."""
    if one.film.picture:
        yield one.window, fit(read_picture(one.film.path), one.settings.height, one.settings.width)[None]
    else:
        yield from cut_windows(one.film.path, one.span, windows, one.settings)


def _read_clip(footage: Path, one: Planned) -> UInt8[np.ndarray, "f h w 3"] | None:
    """Return the frames of a clip that was cut before, or None where it is not there or not as it was."""
    path = footage / one.video
    if not path.is_file():
        return None
    label = read_label(footage / one.cache)
    if label is not None and label.get("video_sha256") != sha256(path):
        return None
    try:
        frames, fps = read_video(path)
    except FootageError:
        return None
    fits = frames.shape == (*one.settings.sizes[0], 3) and abs(fps - one.settings.fps) < 0.01
    return frames if fits else None


def _measure(one: Planned, frames: UInt8[np.ndarray, "f h w 3"]) -> _Cut:
    line = line_for(one.film.lines, one.window.start, one.window.end)
    source = "sidecar" if line else "measured"
    caption = line.caption if line else describe(frames, one.settings.fps, one.film.path.name)
    return _Cut(one, caption, source, round(motion(frames), 4))


def _clip(cut: _Cut, part: str) -> Clip:
    one, settings = cut.planned, cut.planned.settings
    return Clip(
        id=one.id, shot=one.shot, scene=one.scene, film=one.film.path.name, start=one.window.start, fps=settings.fps,
        frames=settings.frames, height=settings.height, width=settings.width, caption=cut.caption,
        caption_source=cut.caption_source, split=part, motion=cut.motion,
        video=one.video, cache=one.cache,
    )  # fmt: skip


def _encode(clips: Sequence[Clip], footage: Path, model: VideoModel, fingerprint: str, device: torch.device) -> None:
    """Write the cache of every clip that has none or not the right one, and of the empty caption."""
    empty, ours = footage / "cache" / "empty.safetensors", {"fingerprint": fingerprint}
    labels = {
        clip.id: {**ours, "clip": clip.id, "caption": clip.caption, "video_sha256": sha256(footage / clip.video)}
        for clip in clips
    }
    unfit = {clip.id: _unfit(footage / clip.cache, labels[clip.id]) for clip in clips}
    todo = [clip for clip in clips if unfit[clip.id] is not None]
    if not todo and _unfit(empty, ours) is None:
        return
    changed = [unfit[clip.id] for clip in todo if (footage / clip.cache).exists()]
    if changed:
        console.note(f"prepare: {len(changed)} cached clips do not fit and are encoded again, such as {changed[0]}")
    encoders = model.load_encoders(device)
    write_cache(empty, encode_empty(encoders), ours)
    with console.progress("encode clips", len(clips), done=len(clips) - len(todo)) as advance:
        for clip in todo:
            frames, _ = read_video(footage / clip.video)
            write_cache(footage / clip.cache, encode_clip(encoders, frames, clip.caption), labels[clip.id])
            advance(1)


def _unfit(path: Path, label: dict[str, str]) -> str | None:
    """Return what is wrong with a cache file, or None."""
    try:
        read_cache(path, label)
    except RecordError as error:
        return str(error).rpartition("; ")[0]
    return None


def _remove_strangers(footage: Path, clips: Sequence[Clip], sources: Sequence[Film]) -> None:
    """Remove the files of windows that were left out, and of films that are no longer given."""
    ours = {name for clip in clips for name in (clip.video, clip.cache)} | {"cache/empty.safetensors"}
    ours |= {f"scans/{film.id}.safetensors" for film in sources}
    for folder in ("clips", "cache", "scans"):
        for path in (footage / folder).iterdir():
            if f"{folder}/{path.name}" not in ours:
                path.unlink()


def _count(
    sources: Sequence[Source], pictures: Sequence[Film], clips: Sequence[Clip], blank: int, splits: Splits
) -> Prepared:
    parts = [clip.split for clip in clips]
    return Prepared(
        films=len(sources), pictures=len(pictures), shots=sum(len(source.shots) for source in sources),
        scenes=len({clip.scene for clip in clips} - {scene_of(picture) for picture in pictures}),
        train=parts.count("train"), validation=parts.count("validation"), test=parts.count("test"),
        blank=blank, overlapping=splits.overlapping, surplus=splits.surplus,
    )  # fmt: skip


def _words(made: Prepared) -> str:
    left_out = {"blank": made.blank, "overlapping": made.overlapping, "more than footage.max_test": made.surplus}
    words = [f"{count} {why}" for why, count in left_out.items() if count]
    return (
        f"{made.train} training, {made.validation} validation and {made.test} test clips from {made.films} films, "
        f"{f'{made.pictures} pictures, ' if made.pictures else ''}"
        f"{made.shots} shots, {made.scenes} scenes{' (left out: ' + ', '.join(words) + ')' if words else ''}"
    )
