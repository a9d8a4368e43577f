"""Published networks that transformers has a class for: found, checked and loaded, or made of random weights.

A folder is in transformers layout: config.json beside model.safetensors or, where the authors published nothing else,
pytorch_model.bin, of which nothing but tensors is unpickled. It must hold the very architecture: another size of the
same family would give numbers under the wrong name. Its preprocessor_config.json is not read; what happens to a
frame is fixed here and written into every result.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedModel

from cinetune.errors import WeightsError
from cinetune.files import sha256
from cinetune.metrics.backbones import _weights
from cinetune.metrics.backbones._contract import Identity
from cinetune.metrics.backbones._random import random_identity
from cinetune.models._checking import build_empty, read_config
from cinetune.models._download import download_matching
from cinetune.models._headers import some
from cinetune.models._quiet import quiet
from cinetune.models._random import random_part

BATCH, VIDEOS = 16, 4
"""Frames, and on a GPU videos of 16 frames, that go through a network at once. On a CPU videos go one by one: VideoMAE
takes 4.3 to 5.0 s of one core for each and 4.6 to 5.1 s in a batch of two, V-JEPA 2 21.4 s and 22.0 s."""
SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"


@dataclass(frozen=True)
class Published:
    """One published network."""

    name: str
    model: type[PreTrainedModel]
    hub: str
    """Hub id, owner/name@revision."""
    config: Mapping[str, Any]
    """What its config.json must say, and enough to build it."""
    preprocessing: str
    weights: str = SAFE
    """The file that the hub has."""
    more: tuple[str, ...] = ()
    """Files beside config and weights that decide its features, those of them that are there."""
    version: str = "1"


def find(network: Published, path: Path | None) -> Path:
    """Return the folder of a network: the one given, or that of its hub id, downloaded on first use.

    Raises:
        WeightsError: no such folder, or the hub cannot be reached.
    """
    if path is None:
        repo, _, revision = network.hub.partition("@")
        return download_matching(repo, revision=revision, patterns=["config.json", network.weights, *network.more])
    if not (path / "config.json").is_file():
        raise WeightsError(f"{path}: no config.json; {network.name} wants the folder of {network.hub}")
    return path


def load(network: Published, path: Path | None, device: torch.device) -> tuple[Any, Identity]:
    """Load a network in fp32, in eval mode and frozen, and say what it is.

    Raises:
        WeightsError: the folder holds another network, or its weights are missing, damaged, not finite or too many.
    """
    folder = find(network, path)
    config = read_config(network.model, folder)
    _check_config(network, folder, config)
    file = _weights_file(network, folder)
    tensors = _weights.read(file)
    _check_numbers(file, tensors)
    try:
        with quiet():
            module, report = network.model.from_pretrained(
                None,
                config=network.model.config_class.from_dict(config),
                state_dict=tensors,
                dtype=torch.float32,
                device_map={"": str(device)},
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                local_files_only=True,
            )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise WeightsError(f"{folder}: cannot load {network.name}: {str(error).splitlines()[0]}") from None
    _check_report(network, file, report)
    files = [folder / "config.json", file, *(folder / name for name in network.more)]
    whole = hashlib.sha256("".join(sha256(part) for part in files if part.is_file()).encode()).hexdigest()
    return module.eval().requires_grad_(False), Identity(network.name, network.version, network.preprocessing, whole)


def random(network: Published, seed: int, device: torch.device) -> tuple[Any, Identity]:
    """Return a network of random weights in fp32, and an identity that says so."""
    module = random_part(network.model, dict(network.config), device=device, dtype=torch.float32, seed=seed)
    return module, random_identity(network.name, network.version, network.preprocessing, module)


def _weights_file(network: Published, folder: Path) -> Path:
    for name in (SAFE, PICKLED):
        if (folder / name).is_file():
            return folder / name
    raise WeightsError(f"{folder}: no {SAFE} and no {PICKLED}; {network.name} wants the folder of {network.hub}")


def _check_config(network: Published, folder: Path, config: dict[str, Any]) -> None:
    where = str(folder / "config.json")
    found = build_empty(network.model, config, where).config
    for name, wanted in _facts(network.config):
        value = found
        for part in name.split("."):
            value = getattr(value, part)
        if value != wanted:
            raise WeightsError(
                f"{where}: {name} is {value} where {network.name} has {wanted}; give the folder of {network.hub}"
            )


def _facts(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _facts(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _check_numbers(file: Path, tensors: dict[str, Tensor]) -> None:
    wrong = sorted(name for name, tensor in tensors.items() if not tensor.isfinite().all())
    if wrong:
        raise WeightsError(f"{file}: NaN or infinite weights in {len(wrong)} tensors: {some(wrong)}; get it again")


def _check_report(network: Published, file: Path, report: dict[str, Any]) -> None:
    """Nothing may be missing, left over or of another shape."""
    shapes = sorted(f"{name} {tuple(a)} where {tuple(b)} is wanted" for name, a, b in report["mismatched_keys"])
    for what, names in (
        ("missing", sorted(report["missing_keys"])),
        ("of another shape", shapes),
        (f"not of {network.name}", sorted(report["unexpected_keys"])),
    ):
        if names:
            raise WeightsError(
                f"{file}: {len(names)} tensors are {what}: {some(names)}; give the weights of {network.hub}"
            )
