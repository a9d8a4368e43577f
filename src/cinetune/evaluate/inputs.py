"""From what was typed to the videos of an evaluation: arms, pairs, captions, clusters, and the first frame held.

Videos of one name pair. A manifest may name the reference of each video instead; videos with one reference are then
several samples of one source.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cinetune.errors import MetricError
from cinetune.evaluate.estimates import REAL, STATIC, TRAINING
from cinetune.evaluate.features import Video
from cinetune.evaluate.named import Named, expand
from cinetune.footage.any_video import shown
from cinetune.records import Clip, Sample, read_records

GENERATED = "generated"
"""The arm of videos that nobody gave another one."""
RESERVED = (REAL, STATIC, TRAINING)
"""Arms with a meaning of their own."""


def assemble(
    arms: Mapping[str, Sequence[Path]],
    reference: Sequence[Path],
    *,
    training: Sequence[Path] = (),
    prompts: Mapping[str, str] | None = None,
    static: bool = True,
    empty: bool = False,
) -> list[Video]:
    """Return all videos: each arm's, the real ones, the held first frames, and the training videos.

    Args:
        arms: what was given of each arm: files, folders, patterns, manifests (which may name arms themselves).
        reference: the real videos, likewise; one real video and one generated are a pair whatever they are called.
        training: what the model was trained on, likewise, or a run folder, which stands for its training clips.
        prompts: captions by name.
        static: add the arm "static", the first frame of each reference held still, where there are pairs.
        empty: no generated video will do, since statistics stand for them.

    Raises:
        MetricError: nothing there, two videos of one name in one arm, an arm of a reserved name, or no prompt fits.
    """
    real = _by_name(_checked(expand(reference), ("", REAL)), REAL)
    generated = [replace(one, arm=one.arm or arm) for arm, given in arms.items() for one in expand(given)]
    if not (generated or empty):
        raise MetricError("nothing to evaluate: no generated videos; name files, folders or a manifest")
    _check_arms({one.arm for one in generated})
    by_arm = {arm: _by_name([one for one in generated if one.arm == arm], arm) for arm in _in_order(generated)}
    generated = [one for own in by_arm.values() for one in own.values()]
    alone = len(real) == 1 and all(len(own) == 1 for own in by_arm.values())
    real = _by_name(_with_references(real, generated).values(), REAL)
    at = {_whole(one.path): name for name, one in real.items()}
    paired = [(one, _source(one, at, next(iter(real)) if alone else one.name)) for one in generated]

    known = dict(prompts or {})
    names = {one.name for one in generated} | set(real)
    if known and not set(known) & names:
        raise MetricError(
            f"no prompt fits a video: prompts are named {min(known)!r}..., videos {min(names)!r}...; name them alike"
        )
    clusters = {source: one.cluster for one, source in paired if one.cluster}
    clusters |= {name: one.cluster for name, one in real.items() if one.cluster}
    captions = {source: one.caption for one, source in reversed(paired) if one.caption}
    videos = [
        Video(
            id=one.name,
            arm=one.arm,
            source=source,
            cluster=clusters.get(source, source),
            path=one.path,
            reference=real[source].path if source in real else None,
            caption=one.caption or known.get(one.name) or known.get(source, ""),
            matched=True,
        )
        for one, source in paired
    ]
    true = [
        Video(
            id=name,
            arm=REAL,
            source=name,
            cluster=clusters.get(name, name),
            path=one.path,
            reference=None,
            caption=one.caption or known.get(name) or captions.get(name, ""),
            matched=True,
        )
        for name, one in real.items()
    ]
    sources = {video.source for video in videos if video.reference}
    held = [replace(v, arm=STATIC, reference=v.path, still=True) for v in true if static and v.source in sources]
    return [*videos, *held, *true, *_training(training)]


def from_samples(
    samples: Sequence[Sample],
    root: Path,
    *,
    scenes: Mapping[str, str],
    training: Sequence[Clip] = (),
    training_root: Path = Path(),
) -> list[Video]:
    """Return the videos of a run: what `generate` made, the true continuations, and the training clips.

    Args:
        samples: told apart by `arm` and paired by `source`.
        root: the folder that the paths in the samples are relative to.
        scenes: scene of each source; one without counts as independent.
        training: the clips that the model was trained on.
        training_root: the folder that their paths are relative to.

    Raises:
        MetricError: no samples, or a video file is missing.
    """
    if not samples:
        raise MetricError("nothing to evaluate: no samples; run `cinetune generate` first")
    videos = [
        Video(
            id=sample.id,
            arm=sample.arm,
            source=sample.source,
            cluster=scenes.get(sample.source, sample.source),
            path=root / sample.video,
            reference=root / sample.reference if sample.reference else None,
            caption=sample.prompt,
            matched=bool(sample.reference),
        )
        for sample in samples
    ]
    real = {
        video.source: replace(video, id=video.source, arm=REAL, path=video.reference, reference=None, matched=True)
        for video in videos
        if video.reference
    }
    everything = [*videos, *real.values(), *(_training_clip(clip, training_root) for clip in training)]
    for video in everything:
        if not video.path.is_file():
            raise MetricError(f"{video.path}: no such video; generate it again, or take its line out of the samples")
    return everything


def _training_clip(clip: Clip, root: Path) -> Video:
    return Video(clip.id, TRAINING, clip.id, clip.scene, root / clip.video, None, clip.caption, matched=False)


def _training(given: Sequence[Path]) -> list[Video]:
    videos: list[Video] = []
    for path in given:
        clips = path / "footage" / "clips.jsonl"
        if clips.is_file():
            learnt = [clip for clip in read_records(clips, Clip) if clip.split == "train"]
            videos += [_training_clip(clip, clips.parent) for clip in learnt]
            continue
        for one in expand([path]):
            name = one.name
            videos.append(Video(name, TRAINING, name, one.cluster or name, one.path, None, one.caption, matched=False))
    return videos


def _with_references(real: Mapping[str, Named], generated: Sequence[Named]) -> dict[str, Named]:
    """Add the references that manifests name; a file that is there already keeps its name.

    Raises:
        MetricError: two files of one name.
    """
    every = dict(real)
    at = {_whole(one.path) for one in real.values()}
    for one in generated:
        if one.reference is None or _whole(one.reference) in at:
            continue
        at.add(_whole(one.reference))
        if one.reference_name in every:
            first = every[one.reference_name].path
            raise MetricError(f"{shown(first)} and {shown(one.reference)} are two references of one name; rename one")
        every[one.reference_name] = Named(one.reference_name, one.reference)
    return every


def _source(one: Named, at: Mapping[str, str], otherwise: str) -> str:
    """Return what pairs a generated video: the name of its reference where it has one."""
    return otherwise if one.reference is None else at[_whole(one.reference)]


def _by_name(found: Iterable[Named], arm: str) -> dict[str, Named]:
    videos: dict[str, Named] = {}
    for one in found:
        if one.name in videos:
            raise MetricError(
                f"arm {arm}: {shown(videos[one.name].path)} and {shown(one.path)} have one name, {one.name}; rename "
                "one of them, or give a manifest with ids"
            )
        videos[one.name] = one
    return dict(sorted(videos.items()))  # what is drawn at random must not depend on the order of the arguments


def _checked(real: list[Named], arms: tuple[str, ...]) -> list[Named]:
    for one in real:
        if one.arm not in arms or one.reference is not None:
            raise MetricError(f"{shown(one.path)}: a real video with an arm or a reference; name it as generated")
    return real


def _check_arms(arms: Iterable[str]) -> None:
    for arm in arms:
        if arm in RESERVED or " - " in arm or not arm.strip():
            raise MetricError(f"no arm can be called {arm!r}; give another name (not {', '.join(RESERVED)}, no ' - ')")


def _in_order(generated: Sequence[Named]) -> list[str]:
    return list(dict.fromkeys(one.arm for one in generated))


def _whole(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - links stay links
