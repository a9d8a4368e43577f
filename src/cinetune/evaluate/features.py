"""The slow half of an evaluation: decode each video once, let every metric look at it, keep what was seen.

What was seen is stored by content: the SHA-256 of the video file, what the look is, which weights it looked through
and how frames reach them. So a second evaluation, or one with a metric more, decodes only what it has not seen.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cinetune import files
from cinetune.errors import MetricError, RecordError
from cinetune.footage.video_io import read_video
from cinetune.metrics._contract import Features, Item, Look
from cinetune.metrics.backbones._contract import Eye


@dataclass(frozen=True)
class Video:
    """One video to be measured."""

    id: str
    arm: str
    """"real" for the true ones."""
    source: str
    """What pairs it with videos of other arms."""
    cluster: str
    """What it shares with videos that are not independent of it: its scene, or its source."""
    path: Path
    reference: Path | None
    """The true continuation, where there is one."""
    caption: str
    """"" where nobody said."""
    matched: bool
    """Has a counterpart among the real videos, if only as a set, and so belongs into set metrics."""


Seen = Features | str
"""Features, or the reason why there are none."""
Progress = Callable[[int, int], None]
"""Is told (videos done, videos in all)."""


def look_at(
    videos: Sequence[Video],
    looks: Sequence[Look],
    eyes: Mapping[str, Eye],
    folder: Path,
    progress: Progress | None = None,
) -> list[dict[str, Seen]]:
    """Return for every video what each look saw, by the look's name.

    One video and its reference are in memory at a time; a reference that several arms share is decoded once.

    Args:
        videos: in any order.
        looks: of the metrics, each once.
        eyes: loaded backbones by role.
        folder: of the stored features, one file a video.

    Raises:
        FootageError: a video cannot be decoded.
        MetricError: a video file does not exist.
        RecordError: a file of stored features is damaged.
        RunError: `folder` cannot be written.
    """
    decode = lru_cache(maxsize=2)(lambda path: read_video(path)[0])
    digest = lru_cache(maxsize=None)(_digest)
    # Neighbours in this order share their reference, so that two places of memory are enough to decode it once.
    order = sorted(range(len(videos)), key=lambda i: (str(videos[i].reference or videos[i].path), videos[i].arm))
    found: list[dict[str, Seen]] = [{} for _ in videos]
    for done, i in enumerate(order, start=1):
        video = videos[i]
        store = folder / f"{digest(video.path)[:24]}.safetensors"
        stored = _load(store)
        new: dict[str, Seen] = {}
        for look in looks:
            eye = eyes[look.backbone] if look.backbone else None
            key = _key(video, look, eye, digest)
            if key not in stored:
                reference = decode(video.reference) if look.pair and video.reference else None
                new[key] = _see(Item(decode(video.path), reference, video.caption if look.caption else ""), look, eye)
            found[i][look.name] = new[key] if key in new else stored[key]
        if new:
            _save(store, stored | new)
        if progress:
            progress(done, len(videos))
    return found


def _see(item: Item, look: Look, eye: Eye | None) -> Seen:
    return look.obstacle(item) or look.features(item, eye)


def _digest(path: Path) -> str:
    if not path.is_file():
        raise MetricError(f"{path}: no such video; generate it again, or take its line out of the samples")
    return files.sha256(path)


def _key(video: Video, look: Look, eye: Eye | None, digest: Callable[[Path], str]) -> str:
    """Everything that decides what is seen, as 32 hex digits."""
    parts = [
        look.name,
        look.version,
        dataclasses.astuple(eye.identity) if eye else None,
        digest(video.path),
        digest(video.reference) if look.pair and video.reference else None,
        video.caption if look.caption else None,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _load(path: Path) -> dict[str, Seen]:
    """Stored features by key. Tensors are called "key/name"; reasons stand in the metadata."""
    if not path.is_file():
        return {}
    try:
        with safe_open(path, framework="numpy") as file:
            seen: dict[str, Seen] = dict(file.metadata() or {})
            for name in file.keys():  # noqa: SIM118 - not a mapping
                key, _, part = name.partition("/")
                features = seen.setdefault(key, {})
                assert isinstance(features, dict)
                features[part] = file.get_tensor(name)
    except (SafetensorError, OSError):
        raise RecordError(f"{path}: damaged features; delete the file and evaluate again") from None
    return seen


def _save(path: Path, seen: Mapping[str, Seen]) -> None:
    tensors = {
        f"{key}/{part}": np.ascontiguousarray(value)
        for key, features in seen.items()
        if not isinstance(features, str)
        for part, value in features.items()
    }
    reasons = {key: reason for key, reason in seen.items() if isinstance(reason, str)}
    with files.write_aside(path) as aside:
        save_file(tensors, aside, metadata=reasons)
