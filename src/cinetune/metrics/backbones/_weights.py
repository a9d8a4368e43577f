"""Weights on disk, in fp16 where the package ships them, and what they become in memory: float32, frozen."""

from importlib import resources
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cinetune.errors import WeightsError
from cinetune.files import write_aside
from cinetune.metrics.backbones._checkpoint import read_tensors

N = TypeVar("N", bound=nn.Module)
COUNTER = "num_batches_tracked"
"""Of batch normalisation; plays no part in eval mode, and old checkpoints lack it."""


def shipped(name: str) -> Path:
    """Return where the package keeps the weights of its own miniatures."""
    return Path(str(resources.files("cinetune"))) / "models" / "nano_weights" / "metrics" / name


def read(path: Path) -> dict[str, Tensor]:
    """Read a checkpoint (safetensors, a PyTorch state dict or a TorchScript archive) as float32.

    Raises:
        WeightsError: no such file, or it is damaged.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights; `cinetune nano train` makes the package's own, or give a path")
    return {name: t.float() if t.is_floating_point() else t for name, t in read_tensors(path).items()}


def fill(network: N, tensors: dict[str, Tensor], where: Path) -> N:
    """Load tensors into a network whose every parameter they must fit; return it in eval mode and frozen.

    Raises:
        WeightsError: a tensor is missing, left over, of another shape, or not finite.
    """
    wanted = {k: v.shape for k, v in network.state_dict().items() if not k.endswith(COUNTER)}
    given = {k: v for k, v in tensors.items() if not k.endswith(COUNTER)}
    missing, left = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    other = sorted(k for k in set(wanted) & set(given) if wanted[k] != given[k].shape)
    if wrong := missing + left + other:
        raise WeightsError(
            f"{where}: does not fit {type(network).__name__}, first at {wrong[0]} ({len(missing)} tensors missing, "
            f"{len(left)} left over, {len(other)} of another shape); give its own weights"
        )
    if spoilt := sorted(k for k, v in given.items() if not v.isfinite().all()):
        raise WeightsError(
            f"{where}: NaN or infinite weights in {len(spoilt)} tensors, first in {spoilt[0]}; get the file again"
        )
    network.load_state_dict(given, strict=False)
    return network.eval().requires_grad_(False)


def write(network: nn.Module, path: Path) -> None:
    """Write a network's weights in fp16, whole or not at all."""
    state = {k: v for k, v in network.state_dict().items() if not k.endswith(COUNTER)}
    half = {k: v.detach().cpu().half().contiguous() for k, v in state.items()}
    with write_aside(path) as aside:
        save_file(half, aside, metadata={"format": "pt"})  # transformers asks for it


def rounded(network: N) -> N:
    """Round the weights to fp16 and back, so that figures measured after training are those of the stored file."""
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.copy_(value.half().float())
    return network
