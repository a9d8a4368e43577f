"""Features on disk, by content, so that no video is looked at twice the same way, in this evaluation or another.

A file holds what one pass over one video saw. Its name is the sum of the video's bytes and the sum of the keys in it,
so files are only ever added, never changed: any number of processes may write into one folder at once.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cinetune import files
from cinetune.errors import RecordError
from cinetune.metrics._contract import Features

Seen = Features | str
"""Features, or the reason why there are none."""
NOTES = "notes"
"""The one key of the metadata: JSON of the video's `size`, and of `reasons` by key. Several keys would be written in
random order, and the same video would give other bytes."""


@dataclass(frozen=True)
class Place:
    """Where stored features are."""

    file: Path
    key: str


@dataclass(frozen=True)
class Known:
    """What is stored of one video."""

    size: tuple[int, int, int] | None
    """Frames, height and width; None where nothing is stored."""
    places: dict[str, Place]
    """By key."""


class Store:
    """A folder of features."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; it is made when something is saved."""
        self.folder = folder

    def find(self, digest: str) -> Known:
        """Return what is stored of the video with these bytes, without reading the features.

        Raises:
            RecordError: a file is damaged.
        """
        size: tuple[int, int, int] | None = None
        places: dict[str, Place] = {}
        for path in sorted(self._shelf(digest).glob(f"{digest[2:26]}-*.safetensors")):
            try:
                with safe_open(path, framework="numpy") as file:
                    notes = json.loads(file.metadata()[NOTES])
                    frames, height, width = map(int, notes["size"])
                    keys = {*notes["reasons"], *(name.partition("/")[0] for name in file.keys())}  # noqa: SIM118 - no mapping
            except (SafetensorError, OSError, TypeError, KeyError, ValueError):
                raise _damaged(path) from None
            size = (frames, height, width)
            places |= {key: Place(path, key) for key in keys}
        return Known(size, places)

    def load(self, place: Place) -> Seen:
        """Read features, or the reason that stands in their place.

        Raises:
            RecordError: the file is damaged or gone.
        """
        features: Features = {}
        try:
            with safe_open(place.file, framework="numpy") as file:
                reasons = json.loads(file.metadata()[NOTES])["reasons"]
                if place.key in reasons:
                    return str(reasons[place.key])
                for name in file.keys():  # noqa: SIM118 - not a mapping
                    key, _, part = name.partition("/")
                    if key == place.key:
                        features[part] = file.get_tensor(name)
        except (SafetensorError, OSError, TypeError, KeyError, ValueError):
            raise _damaged(place.file) from None
        return features

    def save(self, digest: str, size: tuple[int, int, int], seen: Mapping[str, Seen]) -> dict[str, Place]:
        """Write what one pass saw; return where each key is.

        Raises:
            RunError: the folder cannot be written, or the disk is full.
        """
        keys = hashlib.sha256("".join(sorted(seen)).encode()).hexdigest()[:12]
        path = self._shelf(digest) / f"{digest[2:26]}-{keys}.safetensors"
        tensors = {
            f"{key}/{part}": np.ascontiguousarray(value)
            for key, features in seen.items()
            if not isinstance(features, str)
            for part, value in features.items()
        }
        reasons = {key: reason for key, reason in seen.items() if isinstance(reason, str)}
        notes = json.dumps({"size": size, "reasons": reasons}, sort_keys=True)
        with files.write_aside(path) as aside:
            save_file(tensors, aside, metadata={NOTES: notes})
        return {key: Place(path, key) for key in seen}

    def _shelf(self, digest: str) -> Path:
        return self.folder / digest[:2]


class Shelf(Sequence[Seen]):
    """What one look saw of many videos, read from disk one at a time: only what is in use is in memory."""

    def __init__(self, store: Store, places: Sequence[Place | str]) -> None:
        """Take the places in order; text is the reason why nothing was seen there."""
        self._store = store
        self._places = places

    def __len__(self) -> int:
        """Return the number of videos."""
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Seen: ...
    @overload
    def __getitem__(self, index: slice) -> "Shelf": ...
    def __getitem__(self, index: int | slice) -> "Seen | Shelf":
        """Read one from disk."""
        if isinstance(index, slice):
            return Shelf(self._store, self._places[index])
        place = self._places[index]
        return place if isinstance(place, str) else self._store.load(place)


def _damaged(path: Path) -> RecordError:
    return RecordError(f"{path}: damaged features; delete the file and evaluate again")
