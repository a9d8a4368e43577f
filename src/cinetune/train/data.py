"""The training items: cached latents and conditions of clips, in a seeded order that a resumed run continues."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cinetune.footage.cache import read_cache
from cinetune.models._contract import Condition, Latents
from cinetune.records import Clip


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
class Cached:
    """All clips of one split, and the tokens of the empty caption."""

    clips: tuple[Clip, ...]
    items: tuple[Item, ...]
    empty: Tensor


def load_split(footage: Path, clips: list[Clip], split: str) -> Cached:
    """Read the cache of the clips of one split.

    Raises:
        RecordError: a cache file is missing or damaged; `cinetune prepare` mends it.
    """
    chosen = tuple(clip for clip in clips if clip.split == split)
    items = tuple(_item(read_cache(footage / clip.cache)) for clip in chosen)
    return Cached(chosen, items, read_cache(footage / "cache" / "empty.safetensors")["text"])


def _item(tensors: dict[str, Tensor]) -> Item:
    return Item(tensors["latents"], tensors["first"], tensors["image"], tensors["text"])


def order(count: int, epoch: int, seed: int) -> list[int]:
    """Return the order of the clips in one pass over them; a function of seed and epoch alone."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator).tolist()


def indices(position: int, batch: int, count: int, seed: int) -> list[int]:
    """Return the clips of the micro-batch that starts at item `position` of the endless stream."""
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
        condition.first.to(device), condition.image.to(device), condition.text.to(device), condition.text_length
    )
