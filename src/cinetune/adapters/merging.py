"""An adapter added into the weights of a base: in memory, or in a copy of a model folder."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from cinetune import console
from cinetune.adapters.form import Adapter, Layer
from cinetune.adapters.keys import some
from cinetune.adapters.reading import EXPERT_ENDS, EXPERTS, find, find_all, read_adapter
from cinetune.errors import RunError, WeightsError
from cinetune.files import folder_aside

CHUNK = 64 * 2**20
"""Bytes copied at a time."""
SPARE = 2**30
"""Bytes that shall be left on the disk."""
PLAIN = ("F32", "F16", "BF16")
"""Precisions to merge into; a quantised weight has a scale beside it that this knows nothing of."""


@dataclass(frozen=True)
class _Place:
    """Where a weight lies."""

    file: Path
    key: str
    start: int
    """Its first byte in the file."""
    shape: tuple[int, ...]
    dtype: str
    """As safetensors spells it."""


def merged(weight: Tensor, layer: Layer) -> Tensor:
    """Return the adapted weight, computed in fp32, of the weight's shape and precision."""
    return layer.applied(weight).to(weight.dtype)


@torch.no_grad()
def merge_into(network: nn.Module, adapter: Adapter) -> dict[str, Tensor]:
    """Add an adapter to a network's weights in place and return the base weights, for `unmerge`.

    Raises:
        WeightsError: made for another network; nothing is changed then.
    """
    modules = dict(network.named_modules())
    shapes = {
        name: tuple(m.weight.shape) for name, m in modules.items() if isinstance(getattr(m, "weight", None), Tensor)
    }
    _check_fit("this network", adapter, shapes)
    kept = {}
    for name, layer in adapter.layers.items():
        module: Any = modules[name]
        kept[name] = module.weight.data
        module.weight.data = merged(kept[name], layer)
    return kept


def unmerge(network: nn.Module, kept: dict[str, Tensor]) -> None:
    """Put the base weights back, the very same bits: nothing is subtracted, so nothing drifts."""
    for name, weight in kept.items():
        module: Any = network.get_submodule(name)
        module.weight.data = weight


def merge(base: Path, source: Path, out: Path) -> None:
    """Copy a model in diffusers layout, or its `transformer` folder alone, with an adapter merged into its weights.

    Into a model of two experts go the adapters of both, or of one, as `reading.find_all` finds them. Files are copied,
    then the adapted weights are overwritten one at a time: memory holds one weight, and headers, index and all else
    keep their bytes. The base is only read.

    Raises:
        WeightsError: no such model, damaged weights, or an adapter that cannot be read, was made for another model or
            does not say for which of two experts.
        RunError: `out` is there already, cannot be written, or the disk is too small.
    """
    base = base.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out}: is there already; choose another folder")
    if out.resolve().is_relative_to(base):
        raise RunError(f"{out}: lies in the base model; choose another folder")
    work = [work for transformer, file in _pairs(base, source) for work in _plan(transformer, read_adapter(file))]
    files = [f for f in sorted(base.rglob("*")) if f.is_file() and not _hidden(f.relative_to(base))]
    _check_space(out, sum(f.stat().st_size for f in files))
    with folder_aside(out) as aside:
        _copy(files, base, aside)
        with console.progress("merge", len(work)) as advance:
            for layer, places in work:
                for place in places:
                    _overwrite(aside / place.file.relative_to(base), place, layer)
                advance(1)
    console.done(f"merge: {len(work)} layers of {source} into a copy of {base} in {out}")


def _pairs(base: Path, source: Path) -> list[tuple[Path, Path]]:
    """Transformer folders, each with the adapter file to merge into it."""
    if not (base / "model_index.json").is_file():
        return [(base, find(source))]
    found = find_all(source)
    two = (base / EXPERTS["low"]).is_dir()
    if two == ("" in found):
        has = f"has two experts and the name does not end in {' or '.join(EXPERT_ENDS.values())}"
        has = has if two else "has one network and this is for one expert of two"
        raise WeightsError(f"{source}: {base} {has}; merge into its {' or '.join(EXPERTS.values())} folder alone")
    if not two:
        return [(base / EXPERTS["high"], found[""])]
    for expert in sorted(set(EXPERTS) - set(found)):
        console.note(f"{source}: no adapter for the {expert} noise expert; {EXPERTS[expert]} is copied as it is")
    return [(base / EXPERTS[expert], file) for expert, file in found.items()]


def _plan(transformer: Path, adapter: Adapter) -> list[tuple[Layer, list[_Place]]]:
    """The layers of an adapter, each with where its weight lies."""
    places = _places(transformer)
    _check_fit(str(transformer), adapter, {name: found[0].shape for name, found in places.items()})
    _check_plain(place for name in adapter.layers for place in places[name])
    return [(layer, places[name]) for name, layer in adapter.layers.items()]


def _places(transformer: Path) -> dict[str, list[_Place]]:
    """By layer, its weight in each file that has it: a folder may hold a second precision as another variant."""
    files = sorted(transformer.glob("*.safetensors"))
    if not (transformer / "config.json").is_file() or not files:
        raise WeightsError(f"{transformer}: no config.json with .safetensors beside it; give a diffusers model folder")
    for index in sorted(transformer.glob("*.safetensors.index.json")):
        missing = sorted(set(_shards(index)) - {f.name for f in files})
        if missing:
            raise WeightsError(f"{transformer}: {some(missing)} of {index.name} missing; download the model again")
    places: dict[str, list[_Place]] = {}
    for file in files:
        for layer, place in _weights(file):
            places.setdefault(layer, []).append(place)
    return places


def _shards(index: Path) -> list[str]:
    try:
        return list(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise WeightsError(f"{index}: not an index of shards; download the model again") from None


def _weights(file: Path) -> Iterator[tuple[str, _Place]]:
    """The weights of a safetensors file: eight bytes of header length, the header in JSON, then the tensors."""
    try:
        with safe_open(file, framework="pt"):  # checks the header, and that the file is whole
            pass
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length))
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file}: not a readable safetensors file ({error})") from None
    for key, entry in header.items():
        if key.endswith(".weight"):
            start = 8 + length + entry["data_offsets"][0]
            yield key.removesuffix(".weight"), _Place(file, key, start, tuple(entry["shape"]), entry["dtype"])


def _check_fit(where: str, adapter: Adapter, shapes: Mapping[str, tuple[int, ...]]) -> None:
    missing = [name for name in adapter.layers if name not in shapes]
    if missing:
        raise WeightsError(f"{where}: the adapter was made for another network: no layer {some(missing)}")
    for name, layer in adapter.layers.items():
        wanted = (layer.b.shape[0], *layer.a.shape[1:])
        if wanted != shapes[name]:
            sizes = f"{list(wanted)} there, {list(shapes[name])} here"
            raise WeightsError(f"{where}: the adapter was made for another network: the weight of {name} is {sizes}")


def _check_plain(places: Iterable[_Place]) -> None:
    for place in places:
        if place.dtype not in PLAIN:
            raise WeightsError(f"{place.file}: {place.key} is {place.dtype}; merge into {', '.join(PLAIN)} weights")


def _check_space(out: Path, wanted: int) -> None:
    """Before any byte is written: a copy of a 14B model takes minutes to fail otherwise."""
    there = next(folder for folder in out.absolute().parents if folder.is_dir())
    free = shutil.disk_usage(there).free
    if free < wanted + SPARE:
        gib = f"{(wanted + SPARE) / 2**30:.1f} GiB needed, {free / 2**30:.1f} GiB free"
        raise RunError(f"{out}: not enough disk space: {gib}; choose another disk")


def _copy(files: list[Path], base: Path, to: Path) -> None:
    total = sum(f.stat().st_size for f in files)
    with console.progress("copy (MB)", total / 1e6) as advance:
        for file in files:
            target = to / file.relative_to(base)
            target.parent.mkdir(parents=True, exist_ok=True)
            with file.open("rb") as source, target.open("wb") as copy:
                while piece := source.read(CHUNK):
                    copy.write(piece)
                    advance(len(piece) / 1e6, file.name)


def _overwrite(copy: Path, place: _Place, layer: Layer) -> None:
    """Put the merged weight where the base weight lies in a copy of its file; it has the same shape and precision."""
    with safe_open(place.file, framework="pt") as opened:
        weight = merged(opened.get_tensor(place.key), layer)
    with copy.open("rb+") as file:
        file.seek(place.start)
        file.write(weight.contiguous().view(torch.uint8).numpy().tobytes())


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
