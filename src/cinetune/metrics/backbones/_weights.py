"""Weights on disk, in fp16 where the package ships them, and what they become in memory: float32, frozen."""

from importlib import resources
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cinetune.errors import WeightsError
from cinetune.files import write_aside

N = TypeVar("N", bound=nn.Module)


def shipped(name: str) -> Path:
    """Return where the package keeps the weights of its own miniatures."""
    return Path(str(resources.files("cinetune"))) / "models" / "nano_weights" / "metrics" / name


def read(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file as float32.

    Raises:
        WeightsError: no such file, or it is damaged.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights; `cinetune nano train` makes the package's own, or give a path")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: damaged weights ({str(error).splitlines()[0]}); get the file again") from None
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}


def fill(network: N, tensors: dict[str, Tensor], where: Path) -> N:
    """Load tensors into a network whose every parameter they must fit; return it in eval mode and frozen.

    Raises:
        WeightsError: a tensor is missing, left over or of another shape.
    """
    wanted = {k: v.shape for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    wrong = sorted(set(wanted) ^ set(tensors)) or sorted(k for k in wanted if wanted[k] != tensors[k].shape)
    if wrong:
        raise WeightsError(f"{where}: does not fit {type(network).__name__}, first at {wrong[0]}; give its own weights")
    network.load_state_dict(tensors, strict=False)  # the counters of batch normalisation play no part in eval mode
    return network.eval().requires_grad_(False)


def write(network: nn.Module, path: Path) -> None:
    """Write a network's weights in fp16, whole or not at all."""
    state = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
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
