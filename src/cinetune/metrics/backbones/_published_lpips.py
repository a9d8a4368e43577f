"""Published LPIPS v0.1: a torchvision trunk and trained heads, from the hub or a folder that the user gives."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from cinetune.errors import WeightsError
from cinetune.files import sha256
from cinetune.metrics.backbones import _weights
from cinetune.metrics.backbones._contract import HubFile, Identity
from cinetune.metrics.backbones._hub import fetch
from cinetune.metrics.backbones._lpips_form import LpipsDistance, LpipsEye
from cinetune.metrics.backbones._random import random_identity, randomised

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""ImageNet mean and deviation moved to pixels in -1..1 (lpips/lpips.py, ScalingLayer)."""
VERSION = "0.1"
PREPROCESSING = "own size, -1..1"
UNUSED = "classifier."
"""What torchvision's checkpoints hold beside the trunk."""


@dataclass(frozen=True)
class Trunk:
    """What tells one published LPIPS from another."""

    name: str
    build: Callable[[], nn.Module]
    channels: tuple[int, ...]
    trunk_files: tuple[str, ...]
    """Names under which the trunk is looked for, the first there is; parameters by torchvision's names."""
    heads_files: tuple[str, ...]
    """The same of the heads; parameters by the original's names, `linK.model.1.weight`."""
    hub: tuple[HubFile, ...]
    """Trunk and heads on the hub, or nothing."""
    obtain: str
    """Where else they are to be had."""


def load_published(trunk: Trunk, folder: Path | None, device: torch.device) -> LpipsEye:
    """Load trunk and heads from a folder, or from the hub.

    Raises:
        WeightsError: a file is missing, damaged or does not fit, or the hub cannot be reached.
    """
    files = fetch(trunk.name, trunk.hub, trunk.obtain) if folder is None else _in_folder(trunk, folder)
    tensors = {f"trunk.{k}": v for k, v in _weights.read(files[0]).items() if not k.startswith(UNUSED)}
    for name, value in _weights.read(files[1]).items():
        tensors[f"heads.{name.partition('.')[0].removeprefix('lin')}"] = value.flatten()
    network = _weights.fill(build(trunk), tensors, files[0].parent)
    both = hashlib.sha256("".join(sha256(file) for file in files).encode()).hexdigest()
    return LpipsEye(Identity(trunk.name, VERSION, PREPROCESSING, both), network, device)


def random_lpips(trunk: Trunk, device: torch.device) -> LpipsEye:
    """Return the network on seeded random weights, its heads without their signs, for a distance is not negative."""
    network = randomised(build(trunk))
    for head in network.heads:
        head.abs_()
    return LpipsEye(random_identity(trunk.name, VERSION, PREPROCESSING, network), network, device)


def build(trunk: Trunk) -> LpipsDistance:
    """Return the network, not yet filled."""
    return LpipsDistance(trunk.build(), trunk.channels, SHIFT, SCALE)


def _in_folder(trunk: Trunk, folder: Path) -> list[Path]:
    found = []
    for names in (trunk.trunk_files, trunk.heads_files):
        file = next((folder / name for name in names if (folder / name).is_file()), None)
        if file is None:
            raise WeightsError(f"{folder}: no {' or '.join(names)}, which {trunk.name} needs here")
        found.append(file)
    return found
