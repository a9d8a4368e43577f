"""What training needs of a clip, encoded once: latents and conditions in a safetensors file that knows what it is of.

The fields of the metadata lie in one JSON string: safetensors writes several keys in an order that changes from
process to process, and the same clip must give the same bytes.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cinetune.errors import RecordError
from cinetune.files import write_aside
from cinetune.models._contract import Encoders
from cinetune.ops.video import to_pixels

SCHEMA = 1
_KEY = "cinetune"


def encode_clip(encoders: Encoders, frames: UInt8[np.ndarray, "f h w 3"], caption: str) -> dict[str, Tensor]:
    """Return everything the network is told about a clip, float32 on the CPU.

    Returns:
        latents: c f h w, the clip's latents; first: 20 f h w, mask and condition latents of the clip's own first
        frame; image: n d, its tokens; text: m e, the caption's tokens at their true length.

    Of a single frame, the first one given is the whole answer given, which teaches nothing. So `first` and `image` are
    zero there, as they are where training leaves the first frame out (train.image_dropout).
    """
    pixels = to_pixels(frames)
    first, image = encoders.condition(pixels[:, :, 0], len(frames))[0], encoders.encode_image(frames[0])
    if len(frames) == 1:
        first, image = torch.zeros_like(first), torch.zeros_like(image)
    return {
        "latents": _plain(encoders.encode_video(pixels)[0]),
        "first": _plain(first),
        "image": _plain(image),
        "text": _plain(encoders.encode_text([caption])[0]),
    }


def encode_empty(encoders: Encoders) -> dict[str, Tensor]:
    """Return the tokens of the empty caption (text: m e), for caption dropout and guidance."""
    return {"text": _plain(encoders.encode_text([""])[0])}


def write_cache(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and what they are of, whole or not at all; the same content gives the same bytes.

    Raises:
        RunError: the folder cannot be written, or the disk is full.
    """
    label = {**metadata, "schema": SCHEMA, "content": _content(tensors)}
    with write_aside(path) as aside:
        save_file(dict(tensors), aside, metadata={_KEY: json.dumps(label, sort_keys=True)})


def read_cache(path: Path, expect: Mapping[str, str] | None = None) -> dict[str, Tensor]:
    """Return the tensors of a cache file after checking that not a byte of them has changed.

    Args:
        path: written by `write_cache`.
        expect: metadata that must be the same, such as the fingerprint of the model.

    Raises:
        RecordError: no such file, damaged, of another schema, or of something else than expected.
    """
    mend = "run `cinetune prepare` again, which mends it"
    if not path.is_file():
        raise RecordError(f"{path}: no such cache file; {mend}")
    label = read_label(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    except (SafetensorError, OSError):
        label = None
    if label is None:
        raise RecordError(f"{path}: damaged or not a cache of latents; {mend}")
    if label.get("schema") != SCHEMA:
        raise RecordError(f"{path}: schema {label.get('schema')}, this version reads {SCHEMA}; {mend}")
    if label.get("content") != _content(tensors):
        raise RecordError(f"{path}: its bytes have changed since it was written; {mend}")
    for key, value in (expect or {}).items():
        if label.get(key) != value:
            raise RecordError(f"{path}: {key} is {label.get(key)!r}, expected {value!r}; {mend}")
    return tensors


def read_label(path: Path) -> dict[str, Any] | None:
    """Return the metadata of a cache file, or None where there is none or a damaged one; the tensors are not read."""
    try:
        with safe_open(path, framework="pt") as file:
            label = json.loads((file.metadata() or {})[_KEY])
    except (SafetensorError, OSError, KeyError, ValueError):
        return None
    return label if isinstance(label, dict) else None


def _content(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float32).contiguous()
