"""What a part's safetensors files hold, from their headers alone: names, shapes and types, not one weight."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from cinetune.errors import WeightsError

_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class Stored:
    """One tensor as it lies on disk."""

    shape: tuple[int, ...]
    dtype: str
    """As safetensors writes it: F32, BF16, F16, I64, ..."""


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        WeightsError: no such file, or not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); download the folder again") from None
    except ValueError as error:
        raise WeightsError(f"{path}: not JSON ({error}); download it again") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: a JSON object is wanted, not a {type(content).__name__}; download it again")
    return content


def read_headers(folder: Path, files: tuple[str, str]) -> dict[str, Stored]:
    """Return every tensor of a part: one file, or the shards that its index names.

    Args:
        folder: the part's folder.
        files: the name of the one file and that of the index, the one to prefer first.

    Raises:
        WeightsError: no weights, a shard or tensor missing, a file cut short or damaged.
    """
    here = [folder / name for name in files if (folder / name).is_file()]
    if not here:
        pickled = [*folder.glob("*.bin"), *folder.glob("*.ckpt"), *folder.glob("*.pth")]
        why = f"only {pickled[0].name}, which could run code; " if pickled else ""
        raise WeightsError(f"{folder}: no weights; {why}{' or '.join(sorted(files, key=len))} is wanted")
    return _read_shards(here[0]) if here[0].suffix == ".json" else _read_file(here[0])


def _read_shards(index: Path) -> dict[str, Stored]:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise WeightsError(f"{index}: no weight_map from tensors to files; download it again")
    shards = sorted(set(places.values()))
    missing = [name for name in shards if not (index.parent / name).is_file()]
    if missing:
        raise WeightsError(f"{index.parent}: {some(missing)} of {len(shards)} shards missing; download again")
    held = {name: _read_file(index.parent / name) for name in shards}
    for tensor, shard in places.items():
        if tensor not in held[shard]:
            raise WeightsError(f"{index}: {tensor} is not in {shard}; index and shards are of different models")
    return {tensor: held[shard][tensor] for tensor, shard in places.items()}


def _read_file(path: Path) -> dict[str, Stored]:
    try:
        with safe_open(path, framework="numpy") as file:  # torch's way reserves memory for the whole file
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
            return {name: Stored(tuple(s.get_shape()), s.get_dtype()) for name, s in slices.items()}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: {_trouble(path) or f'not a readable safetensors file ({error})'}") from None


def _trouble(path: Path) -> str:
    """Say what is wrong with a file that safetensors refuses; empty when it is neither of the two common things."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(max(8, len(_POINTER)))
        if start.startswith(_POINTER):
            return "a Git LFS pointer, not the weights; run `git lfs pull` in its folder"
        length = int.from_bytes(start[:8], "little")
        if length >= size:
            return f"cut short: its header alone takes {length + 8} bytes, the file has {size}; download it again"
        file.seek(8)
        try:
            header = json.loads(file.read(length))
            end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        except (ValueError, KeyError, TypeError, IndexError):
            return ""
    wanted = 8 + length + int(end)
    return (
        f"cut short: its header names {wanted} bytes, the file has {size}; download it again" if wanted > size else ""
    )


def some(names: list[str], most: int = 3) -> str:
    """Return the first few of many names and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
