"""CLIP as published: projected embeddings of images and text, not normalised."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from cinetune.errors import WeightsError
from cinetune.metrics.backbones import _transformers
from cinetune.metrics.backbones._contract import Identity
from cinetune.metrics.backbones._exact import exact
from cinetune.metrics.backbones._transformers import BATCH, Published
from cinetune.metrics.backbones._transformers_view import View
from cinetune.models._quiet import quiet

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json")
"""Files that a tokenizer is read from, those of them that are there."""


@dataclass(frozen=True)
class PublishedClip:
    """One published CLIP, and how it sees a frame."""

    network: Published
    view: View


class ClipTowers:
    """A loaded CLIP as metrics use it."""

    def __init__(self, model: Any, identity: Identity, tokenizer: Any, view: View, device: torch.device) -> None:
        """Take a loaded model to `device`."""
        self.identity = identity
        self._model = model.to(device)
        self._tokenizer = tokenizer
        self._longest = model.config.text_config.max_position_embeddings
        self._view = view
        self._device = device

    @torch.inference_mode()
    def images(self, frames: UInt8[np.ndarray, "f h w 3"]) -> Float[np.ndarray, "f d"]:
        """Return one vector a frame."""
        parts = []
        for i in range(0, len(frames), BATCH):
            with exact():
                pooled = self._model.vision_model(self._view(frames[i : i + BATCH], self._device)).pooler_output
            parts.append(self._model.visual_projection(pooled))
        return np.asarray(torch.cat(parts).float().cpu().numpy())

    @torch.inference_mode()
    def text(self, caption: str) -> Float[np.ndarray, " d"]:
        """Return the vector of a caption; what exceeds the context, 77 tokens with start and end, is cut off."""
        tokens = self._tokenizer([caption], truncation=True, max_length=self._longest, return_tensors="pt").input_ids
        pooled = self._model.text_model(tokens.to(self._device)).pooler_output
        return np.asarray(self._model.text_projection(pooled)[0].float().cpu().numpy())


def load_clip(clip: PublishedClip, path: Path | None, device: torch.device) -> ClipTowers:
    """Load the folder at `path`, or that of the hub id.

    Raises:
        WeightsError: the folder is missing, damaged or holds another network.
    """
    folder = _transformers.find(clip.network, path)
    tokenizer = _read_tokenizer(folder)
    model, identity = _transformers.load(clip.network, folder, device)
    known = model.config.text_config.vocab_size
    if max(tokenizer.get_vocab().values()) >= known:
        raise WeightsError(f"{folder}: its tokenizer has more words than the {known} of the network; get it again")
    return ClipTowers(model, identity, tokenizer, clip.view, device)


def random_clip(clip: PublishedClip, seed: int, device: torch.device) -> ClipTowers:
    """Return a CLIP of random weights, which reads single bytes."""
    model, identity = _transformers.random(clip.network, seed, device)
    return ClipTowers(model, identity, byte_tokenizer(model.config.text_config.vocab_size), clip.view, device)


def byte_tokenizer(words: int) -> Any:
    """Return CLIP's tokenizer without a merge: a word is its bytes. Start and end are the last two of `words` ids."""
    symbols = sorted(ByteLevel.alphabet())
    vocabulary = {word: i for i, word in enumerate([*symbols, *(f"{symbol}</w>" for symbol in symbols)])}
    vocabulary |= {"<|startoftext|>": words - 2, "<|endoftext|>": words - 1}
    return CLIPTokenizer(vocab=vocabulary, merges=[])


def _read_tokenizer(folder: Path) -> Any:
    there = {name for name in TOKENIZER if (folder / name).is_file()}
    if "tokenizer.json" not in there and not {"vocab.json", "merges.txt"} <= there:
        raise WeightsError(f"{folder}: no tokenizer.json, and no vocab.json with merges.txt; get the folder again")
    try:
        with quiet():
            return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # tokenizers raises a bare Exception for a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{folder}: damaged tokenizer ({reason}); get the folder again") from None
