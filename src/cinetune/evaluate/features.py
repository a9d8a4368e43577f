"""The slow half of an evaluation: decode each video once, let every metric look at it, keep what was seen.

Videos that share a reference are one piece of work: the reference is decoded once and held while they pass by one
after another. Pieces go to threads, which share the loaded networks; what a video adds to memory is gone before the
next one comes. What was seen is stored by content (see `store`), so a second evaluation, one with a metric more, or
one that goes on after a kill, decodes only what it has not seen.
"""

import dataclasses
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from cinetune.errors import FootageError, WeightsError
from cinetune.evaluate.store import Place, Seen, Store
from cinetune.footage.any_video import digest, read_any, shown
from cinetune.metrics._contract import Features, Frames, Item, Look
from cinetune.metrics.backbones._contract import ClipEye, Eye, too_short

__all__ = ["Found", "Progress", "Seen", "Spent", "Video", "look_at", "workers_for"]

MOST_WORKERS = 8
"""Each holds two decoded videos and what the networks make of one, so memory sets a limit before the cores do."""


@dataclass(frozen=True)
class Video:
    """One video to be measured."""

    id: str
    arm: str
    """"real" for the true ones, "training" for what the model learnt from."""
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
    still: bool = False
    """Stands for its own first frame, held for its whole length."""


@dataclass(frozen=True)
class Found:
    """What became of one video."""

    size: tuple[int, int, int] = (0, 0, 0)
    """Frames, height, width."""
    places: Mapping[str, Place | str] = field(default_factory=dict)
    """Look's name -> where its features are, or the reason why there are none and none were kept."""
    short: str = ""
    """Why some metrics leave it out: it has too few frames for them."""
    problem: str = ""
    """Why nothing could be measured."""


class Spent:
    """Seconds by what they were spent on, added up over all workers."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Count the time inside."""
        began = time.perf_counter()
        try:
            yield
        finally:
            gone = time.perf_counter() - began
            with self._lock:
                self.seconds[what] = self.seconds.get(what, 0.0) + gone


Progress = Callable[[int, int], None]
"""Is told (videos done, videos in all)."""


def workers_for(device: torch.device, wanted: int | None = None) -> int:
    """Return how many videos to look at side by side: by default one for each core that torch would use."""
    if wanted is not None:
        return wanted
    return min(MOST_WORKERS, torch.get_num_threads() if device.type == "cpu" else max(4, torch.get_num_threads()))


def look_at(
    videos: Sequence[Video],
    looks: Sequence[Look],
    eyes: Mapping[str, Eye],
    store: Store,
    *,
    workers: int = 1,
    mine: Callable[[int], bool] = lambda piece: True,
    strict: bool = False,
    progress: Progress | None = None,
    spent: Spent | None = None,
) -> list[Found | None]:
    """Look at every video in every way, as far as that is not stored, and return what became of each.

    Args:
        videos: in any order, which changes nothing.
        looks: of the metrics, each once.
        eyes: loaded backbones by role.
        store: of the features.
        workers: threads; each takes its share of torch's, so that numbers do not depend on how many there are.
        mine: piece of work -> whether this process does it; the videos of other pieces are None.
        strict: a video that cannot be read is an error, not a `problem`.
        progress: is told of the videos of this process.
        spent: gets the seconds of hashing, decoding and each network.

    Raises:
        FootageError: `strict`, and a video cannot be read.
        WeightsError: what a network saw is not a number: its weights are damaged.
        RecordError: a file of stored features is damaged.
        RunError: the store cannot be written.
    """
    pieces: dict[str, list[int]] = {}
    for i, video in enumerate(videos):
        pieces.setdefault(str(video.reference or video.path), []).append(i)
    own = [pieces[name] for number, name in enumerate(sorted(pieces)) if mine(number)]
    looker = _Looker(looks, eyes, store, strict, spent or Spent(), lru_cache(maxsize=None)(digest))
    found: list[Found | None] = [None] * len(videos)
    done, total, lock = 0, sum(map(len, own)), threading.Lock()

    def work(piece: list[int]) -> None:
        nonlocal done
        held = _Held(videos[piece[0]].reference or videos[piece[0]].path)
        for i in sorted(piece, key=lambda i: (videos[i].arm, videos[i].id)):
            found[i] = looker.look(videos[i], held)
            with lock:
                done += 1
                if progress:
                    progress(done, total)

    with _threads_each(workers):
        if workers == 1:
            for piece in own:
                work(piece)
            return found
        for look in looks:  # a tokenizer sets itself up at its first call, which must not come from two threads at once
            if look.caption and look.backbone and isinstance(eye := eyes[look.backbone], ClipEye):
                eye.text("")
        with ThreadPoolExecutor(
            workers, initializer=torch.set_num_threads, initargs=(torch.get_num_threads(),)
        ) as pool:
            try:
                for future in as_completed([pool.submit(work, piece) for piece in own]):
                    future.result()
            except BaseException:  # one failed, or the person at the keyboard stops it: begin no more
                pool.shutdown(cancel_futures=True)
                raise
    return found


@contextmanager
def _threads_each(workers: int) -> Iterator[None]:
    """Give each worker its share of torch's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // workers))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class _Held:
    """The one video that stays in memory while others are compared with it, or why it cannot."""

    path: Path
    frames: Frames | None = None
    problem: str = ""


@dataclass(frozen=True)
class _Looker:
    looks: Sequence[Look]
    eyes: Mapping[str, Eye]
    store: Store
    strict: bool
    spent: Spent
    digest: Callable[[Path], str]

    def look(self, video: Video, held: _Held) -> Found:
        """Look at one video in every way that is not stored; what cannot be read is a problem, not an error."""
        try:
            return self._look(video, held)
        except FootageError as error:
            if self.strict:
                raise
            return Found(problem=_line(error))

    def _look(self, video: Video, held: _Held) -> Found:
        own = self._digest(video.path)
        true, lost = self._true_digest(video)
        keys = {look.name: _key(look, self._eye(look), video, own, true) for look in self.looks}
        known = self.store.find(own)
        size, places = known.size, dict(known.places)
        missing = [look for look in self.looks if keys[look.name] not in places and not (look.pair and lost)]
        if missing or size is None:
            frames = self._frames(video, held)
            size = (frames.shape[0], frames.shape[1], frames.shape[2])
            reference = None
            if true and any(look.pair for look in missing):
                reference, lost = self._true_frames(video, held)
            new = [look for look in missing if not (look.pair and lost)]
            places |= self.store.save(
                own, size, {keys[look.name]: self._see(look, video, frames, reference) for look in new}
            )
        return Found(
            size=size,
            places={look.name: lost if look.pair and lost else places[keys[look.name]] for look in self.looks},
            short=self._short(size[0]),
        )

    def _eye(self, look: Look) -> Eye | None:
        return self.eyes[look.backbone] if look.backbone else None

    def _digest(self, path: Path) -> str:
        with self.spent.on("hashing"):
            return self.digest(path)

    def _true_digest(self, video: Video) -> tuple[str, str]:
        """Return the sum of the reference, "" where there is none, and why it cannot be read."""
        if video.reference is None or not any(look.pair for look in self.looks):
            return "", ""
        try:
            return self._digest(video.reference), ""
        except FootageError as error:
            if self.strict:
                raise
            return "", f"its reference cannot be read: {_line(error)}"

    def _true_frames(self, video: Video, held: _Held) -> tuple[Frames | None, str]:
        """Return the frames of the reference, or why it cannot be decoded."""
        assert video.reference is not None
        try:
            return self._decoded(video.reference, held), ""
        except FootageError as error:
            if self.strict:
                raise
            return None, f"its reference cannot be read: {_line(error)}"

    def _frames(self, video: Video, held: _Held) -> Frames:
        frames = self._decoded(video.path, held)
        return np.repeat(frames[:1], len(frames), axis=0) if video.still else frames

    def _decoded(self, path: Path, held: _Held) -> Frames:
        if path != held.path:
            with self.spent.on("decoding"):
                return read_any(path)
        if held.problem:
            raise FootageError(held.problem)
        if held.frames is None:
            try:
                with self.spent.on("decoding"):
                    held.frames = read_any(path)
            except FootageError as error:
                held.problem = str(error)
                raise
        return held.frames

    def _see(self, look: Look, video: Video, frames: Frames, reference: Frames | None) -> Seen:
        item = Item(frames, reference if look.pair else None, video.caption if look.caption else "")
        eye = self._eye(look)
        obstacle = look.obstacle(item) or (too_short(eye, len(frames)) if eye else "")
        if obstacle:
            return obstacle
        with self.spent.on(eye.identity.name if eye else "pixels"):
            features: Features = look.features(item, eye)
        if eye and not all(np.isfinite(array).all() for array in features.values()):
            raise WeightsError(
                f"{eye.identity}: sees something that is not a number in {shown(video.path)}; its weights are damaged: "
                "get them again"
            )
        return features

    def _short(self, frames: int) -> str:
        if frames == 1:
            return "a single frame: left out by every metric of motion, or of the frames after the first"
        told = [too_short(eye, frames) for look in self.looks if (eye := self._eye(look))]
        return "; ".join(dict.fromkeys(filter(None, told)))


def _key(look: Look, eye: Eye | None, video: Video, own: str, true: str) -> str:
    """Everything that decides what is seen, as 32 hex digits."""
    parts = [
        look.name,
        look.version,
        dataclasses.astuple(eye.identity) if eye else None,
        own,
        video.still,
        true if look.pair else None,
        video.caption if look.caption else None,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _line(error: FootageError) -> str:
    return shown(" ".join(str(error).split()))
