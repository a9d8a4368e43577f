"""The training items: cached latents and conditions of clips, read when they are wanted."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import torch
from torch import Tensor

from cinetune.errors import RecordError
from cinetune.files import sha256
from cinetune.footage.cache import read_cache, read_label
from cinetune.models._contract import Condition, Latents
from cinetune.records import Clip

MEND = "run `cinetune prepare` again, which mends it"
HELD = 2 * 2**30
"""Bytes of cached clips kept in memory; what is beyond them is read again each time."""


@dataclass(frozen=True)
class Item:
    """One cached clip."""

    latents: Tensor
    """c f h w."""
    first: Tensor
    """Mask and condition latents, 20 f h w."""
    image: Tensor
    """n d."""
    text: Tensor
    """m e."""


@dataclass(frozen=True)
class Items(Sequence[Item]):
    """Cache files as items; the first ones read, up to HELD bytes, stay in memory."""

    files: tuple[Path, ...]
    _held: dict[int, Item] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, index: int | slice) -> Item | tuple[Item, ...]:
        """Return an item, or several.

        Raises:
            RecordError: the file is missing or damaged; `cinetune prepare` mends it.
        """
        if isinstance(index, slice):
            return tuple(self[n] for n in range(*index.indices(len(self))))
        item = self._held.get(index)
        if item is None:
            tensors = read_cache(self.files[index])
            item = Item(tensors["latents"], tensors["first"], tensors["image"], tensors["text"])
            if (len(self._held) + 1) * sum(t.nbytes for t in tensors.values()) <= HELD:
                self._held[index] = item
        return item


@dataclass(frozen=True)
class Cached:
    """All clips of one split, and the tokens of the empty caption."""

    clips: tuple[Clip, ...]
    items: Sequence[Item]
    empty: Tensor

    def fingerprint(self) -> str:
        """Return 16 hex digits that change with the clips, their captions and their order."""
        told = [[clip.id, clip.caption, clip.cache] for clip in self.clips]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def load_split(footage: Path, clips: list[Clip], split: str) -> Cached:
    """Return the clips of one split; of the cache files only the headers are read now.

    Raises:
        RecordError: a cache file is missing or damaged, or was made of another video or caption.
    """
    chosen = tuple(clip for clip in clips if clip.split == split)
    files = tuple(footage / clip.cache for clip in chosen)
    for clip, file in zip(chosen, files, strict=True):
        label = read_label(file)
        if label is None:
            raise RecordError(f"{file}: missing, damaged or not a cache of latents; {MEND}")
        video = footage / clip.video
        if (label.get("clip"), label.get("caption")) != (clip.id, clip.caption) or (
            label.get("video_sha256") != (sha256(video) if video.is_file() else None)
        ):
            raise RecordError(f"{video}: clip or caption changed since {file.name} was cached; {MEND}")
    return Cached(chosen, Items(files), read_cache(footage / "cache" / "empty.safetensors")["text"])


def order(count: int, epoch: int, seed: int) -> list[int]:
    """Return the order of the clips in one pass over them; a function of seed and epoch alone."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator).tolist()


def indices(position: int, batch: int, count: int, seed: int) -> list[int]:
    """Return the clips at the items `position` .. `position + batch` of the endless stream."""
    picked = []
    for place in range(position, position + batch):
        epoch, offset = divmod(place, count)
        picked.append(order(count, epoch, seed)[offset])
    return picked


def collate(cached: Cached, pick: list[int], no_caption: Tensor, no_image: Tensor) -> tuple[Latents, Condition]:
    """Return latents and condition of a micro-batch.

    Args:
        no_caption, no_image: bool, one for each clip: give the empty caption; give no first frame (zero mask and
            latents, zero image tokens).
    """
    rows = [cached.items[n] for n in pick]
    text = [cached.empty if bare else row.text for row, bare in zip(rows, no_caption, strict=True)]
    keep = (~no_image).float()
    condition = Condition(
        first=torch.stack([row.first for row in rows]).float() * keep.view(-1, 1, 1, 1, 1),
        image=torch.stack([row.image for row in rows]).float() * keep.view(-1, 1, 1),
        text=torch.nn.utils.rnn.pad_sequence([t.float() for t in text], batch_first=True),
        text_length=tuple(len(t) for t in text),
    )
    return torch.stack([row.latents for row in rows]).float(), condition


def to_device(condition: Condition, device: torch.device) -> Condition:
    """Return the condition on another device."""
    return Condition(
        condition.first.to(device, non_blocking=True), condition.image.to(device, non_blocking=True),
        condition.text.to(device, non_blocking=True), condition.text_length,
    )  # fmt: skip
