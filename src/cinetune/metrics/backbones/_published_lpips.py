"""Published LPIPS v0.1: a torchvision trunk and trained heads, read from a folder that the user gives."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from cinetune.errors import WeightsError
from cinetune.files import sha256
from cinetune.metrics.backbones import _weights
from cinetune.metrics.backbones._contract import Identity
from cinetune.metrics.backbones._lpips_form import LpipsDistance, LpipsEye

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""ImageNet mean and deviation moved to pixels in -1..1 (lpips/lpips.py, ScalingLayer)."""


@dataclass(frozen=True)
class Trunk:
    """What tells one published LPIPS from another."""

    name: str
    build: Callable[[], nn.Module]
    channels: tuple[int, ...]
    trunk_file: str
    """Safetensors with torchvision's names, `features.N.weight`."""
    heads_file: str
    """Safetensors with the original's names, `linK.model.1.weight`."""


def load_published(trunk: Trunk, folder: Path | None, device: torch.device) -> LpipsEye:
    """Load trunk and heads.

    Raises:
        WeightsError: no folder, or a file is missing, damaged or does not fit.
    """
    if folder is None:
        raise WeightsError(f"{trunk.name}: give the folder that holds {trunk.trunk_file} and {trunk.heads_file}")
    files = [folder / trunk.trunk_file, folder / trunk.heads_file]
    tensors = {f"trunk.{name}": value for name, value in _weights.read(files[0]).items()}
    for name, value in _weights.read(files[1]).items():
        tensors[f"heads.{name.partition('.')[0].removeprefix('lin')}"] = value.flatten()
    network = LpipsDistance(trunk.build(), trunk.channels, SHIFT, SCALE)
    _weights.fill(network, tensors, folder)
    both = hashlib.sha256("".join(sha256(file) for file in files).encode()).hexdigest()
    return LpipsEye(Identity(trunk.name, "0.1", "own size, -1..1", both), network, device)
