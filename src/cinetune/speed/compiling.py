"""Regional compilation: the block that the network repeats is compiled once, and all its copies use it.

After the adapter is in, and before an engine shards the block.
"""

import importlib.util
import os
import shutil
from typing import Any

import torch
from torch import nn

from cinetune import console
from cinetune.errors import RunError

COMPILERS = ("g++", "clang++", "cl")


def compile_blocks(network: nn.Module, device: torch.device) -> None:
    """Let the blocks be compiled when they are first called.

    Raises:
        RunError: what compiles them is missing.
    """
    missing = what_is_missing(device)
    if missing:
        raise RunError(f"compile: {missing}; install it, or leave compile out")
    wan: Any = network
    wan.compile_repeated_blocks()
    console.note("the block is compiled; the first step takes longer")


def what_is_missing(device: torch.device) -> str:
    """Return what torch.compile lacks for a device, or nothing."""
    if device.type == "cuda":
        return "" if importlib.util.find_spec("triton") else "the package triton is missing"
    found = shutil.which(os.environ.get("CXX", "")) or any(map(shutil.which, COMPILERS))
    return "" if found else f"no C++ compiler ({', '.join(COMPILERS)}) is on the path"
