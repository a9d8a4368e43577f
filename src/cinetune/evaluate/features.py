"""The slow half of an evaluation: decode each video once, let every metric look at it, keep what was seen.

Videos that share a reference are one piece of work: the reference is decoded once and held while they pass by one
after another. Pieces go to threads, which share the loaded networks; what a video adds to memory is gone before the
next one comes. Only where a network wants several videos at once (on a GPU, see `BatchVideoEye.at_once`) are some held
until there are enough for it. What was seen is stored by content (see `store`), so a second evaluation, one
with a metric more, or one that goes on after a kill, decodes only what it has not seen: a kill loses, of each worker,
the video that it looks at and those that wait.
"""

import dataclasses
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from cinetune.errors import FootageError, WeightsError
from cinetune.evaluate.store import Place, Seen, Store
from cinetune.evaluate.video import Found, Spent, Video
from cinetune.footage.any_video import digest, read_any, shown
from cinetune.metrics._contract import Features, Frames, Item, Look
from cinetune.metrics.backbones._contract import BatchVideoEye, ClipEye, Eye, too_short

__all__ = ["Found", "Progress", "Seen", "Spent", "Video", "look_at", "workers_for"]

MOST_WORKERS = 8
"""Each holds two decoded videos and what the networks make of one, so memory sets a limit before the cores do."""
MOST_WAITING = 2**28
"""Bytes of decoded videos that wait for others in one worker; one that is larger is not kept waiting."""

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

    def keep(which: Sequence[int], became: Sequence[Found]) -> None:
        nonlocal done
        for i, one in zip(which, became, strict=True):
            found[i] = one
        with lock:
            done += len(which)
            if progress:
                progress(done, total)

    def work(share: Sequence[list[int]]) -> None:
        waiting: dict[int, _Half] = {}
        for piece in share:
            held = _Held(videos[piece[0]].reference or videos[piece[0]].path)
            for i in sorted(piece, key=lambda i: (videos[i].arm, videos[i].id)):
                begun = looker.begin(videos[i], held)
                if isinstance(begun, Found):
                    keep([i], [begun])
                    continue
                waiting[i] = begun
                del begun
                if len(waiting) == looker.together or sum(h.frames.nbytes for h in waiting.values()) > MOST_WAITING:
                    keep(list(waiting), looker.end(list(waiting.values())))
                    waiting.clear()
        if waiting:
            keep(list(waiting), looker.end(list(waiting.values())))

    with _threads_each(workers):
        shares = list(_shares(own, looker.together))
        if workers == 1:
            for share in shares:
                work(share)
            return found
        for look in looks:  # a tokenizer sets itself up at its first call, which must not come from two threads at once
            if look.caption and look.backbone and isinstance(eye := eyes[look.backbone], ClipEye):
                eye.text("")
        with ThreadPoolExecutor(
            workers, initializer=torch.set_num_threads, initargs=(torch.get_num_threads(),)
        ) as pool:
            try:
                for future in as_completed([pool.submit(work, share) for share in shares]):
                    future.result()
            except BaseException:  # one failed, or the person at the keyboard stops it: begin no more
                pool.shutdown(cancel_futures=True)
                raise
    return found


def _shares(pieces: Sequence[list[int]], videos: int) -> Iterator[list[list[int]]]:
    """Yield neighbouring pieces that have at least so many videos together; they do not depend on who takes them."""
    share: list[list[int]] = []
    for piece in pieces:
        share.append(piece)
        if sum(map(len, share)) >= videos:
            yield share
            share = []
    if share:
        yield share


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


@dataclass
class _Half:
    """A video that was looked at in every way but those that wait for more videos."""

    video: Video
    frames: Frames
    digest: str
    keys: Mapping[str, str]
    """Look's name -> key."""
    places: dict[str, Place]
    """By key, of what was stored before."""
    lost: str
    """Why its reference cannot be read, or ""."""
    seen: dict[str, Seen | None]
    """Look's name -> what it saw; None where it waits."""


@dataclass(frozen=True)
class _Looker:
    looks: Sequence[Look]
    eyes: Mapping[str, Eye]
    store: Store
    strict: bool
    spent: Spent
    digest: Callable[[Path], str]

    @property
    def together(self) -> int:
        """Videos that are worth looking at together."""
        return max((self._at_once(look) for look in self.looks), default=1)

    def begin(self, video: Video, held: _Held) -> Found | _Half:
        """Look at one video in every way that is not stored; what cannot be read is a problem, not an error."""
        try:
            half = self._begin(video, held)
        except FootageError as error:
            if self.strict:
                raise
            return Found(problem=_line(error))
        return half if isinstance(half, Found) or None in half.seen.values() else self.end([half])[0]

    def end(self, halves: Sequence[_Half]) -> list[Found]:
        """Look at some videos together in the ways that waited for it, and store all that was seen of them."""
        for look in self.looks:
            alike: dict[int, list[_Half]] = {}
            for half in halves:
                if look.name in half.seen and half.seen[look.name] is None:
                    alike.setdefault(len(half.frames), []).append(half)
            for some in alike.values():
                eye, items = self._eye(look), [Item(half.frames, None, "") for half in some]
                assert look.many
                assert eye
                with self.spent.on(eye.identity.name):
                    made = look.many(items, eye)
                for half, features in zip(some, made, strict=True):
                    half.seen[look.name] = _checked(features, eye, half.video)
        return [self._stored(half) for half in halves]

    def _begin(self, video: Video, held: _Held) -> Found | _Half:
        own = self._digest(video.path)
        true, lost = self._true_digest(video)
        keys = {look.name: _key(look, self._eye(look), video, own, true) for look in self.looks}
        known = self.store.find(own)
        missing = [look for look in self.looks if keys[look.name] not in known.places and not (look.pair and lost)]
        if not missing and known.size is not None:
            return self._found(known.size, keys, known.places, lost)
        frames, reference = self._frames(video, held), None
        if true and any(look.pair for look in missing):
            reference, lost = self._true_frames(video, held)
        new = [look for look in missing if not (look.pair and lost)]
        seen = {look.name: self._see(look, video, frames, reference) for look in new}
        return _Half(video, frames, own, keys, known.places, lost, seen)

    def _stored(self, half: _Half) -> Found:
        size = (half.frames.shape[0], half.frames.shape[1], half.frames.shape[2])
        seen = {half.keys[name]: saw for name, saw in half.seen.items() if saw is not None}
        places = half.places | self.store.save(half.digest, size, seen)
        return self._found(size, half.keys, places, half.lost)

    def _found(
        self, size: tuple[int, int, int], keys: Mapping[str, str], places: Mapping[str, Place], lost: str
    ) -> Found:
        return Found(
            size=size,
            places={look.name: lost if look.pair and lost else places[keys[look.name]] for look in self.looks},
            short=self._short(size[0]),
        )

    def _at_once(self, look: Look) -> int:
        eye = self._eye(look)
        return eye.at_once if look.many and isinstance(eye, BatchVideoEye) else 1

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
        return np.broadcast_to(frames[:1], frames.shape) if video.still else frames

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

    def _see(self, look: Look, video: Video, frames: Frames, reference: Frames | None) -> Seen | None:
        """Return what a look sees, or why it cannot; None where it waits for more videos."""
        item = Item(frames, reference if look.pair else None, video.caption if look.caption else "")
        eye = self._eye(look)
        obstacle = look.obstacle(item) or (too_short(eye, len(frames)) if eye else "")
        if obstacle:
            return obstacle
        if self._at_once(look) > 1:
            return None
        with self.spent.on(eye.identity.name if eye else "pixels"):
            features: Features = look.features(item, eye)
        return _checked(features, eye, video)

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


def _checked(features: Features, eye: Eye | None, video: Video) -> Features:
    """Return the features.

    Raises:
        WeightsError: what the network saw is not a number.
    """
    if eye and not all(np.isfinite(array).all() for array in features.values()):
        raise WeightsError(
            f"{eye.identity}: sees something that is not a number in {shown(video.path)}; its weights are damaged: "
            "get them again"
        )
    return features


def _line(error: FootageError) -> str:
    return shown(" ".join(str(error).split()))
