"""One adapter whose leading ranks work alone (DyLoRA, Valipour et al. 2022, arXiv 2210.07558).

Each step trains with the first r rows of A and columns of B, r drawn evenly. The scale is that of the whole adapter,
whatever r is: the update of rank r is then the first r terms of the sum over ranks b_i a_i that the whole adapter is,
the larger ranks add terms to it, and cutting a file down is exact. A scale alpha / r would multiply the shared terms by
max / r each time a smaller rank is drawn, and no b_1 a_1 could be right for two ranks.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cinetune.adapters import lora

_STREAM = 0x6E657374
"""Keeps these draws apart from others of the same seed and step."""


def draw_rank(ranks: Sequence[int], seed: int, step: int) -> int:
    """Return the rank that a step (from 0) trains: the same on every process, whatever was drawn before."""
    return ranks[int(np.random.default_rng([_STREAM, seed, step]).integers(len(ranks)))]


def prepare(network: nn.Module) -> None:
    """Let the adapter on a network be truncated: its hidden activations are multiplied by a mask of ones.

    The mask is a buffer and the hook stays, so that a compiled block need not be compiled again for another rank, and
    nothing is sliced that an engine may have sharded.
    """
    for layer in lora.layers(network).values():
        down = layer.lora_A[lora.NAME]
        ones = torch.ones(down.out_features, device=down.weight.device, dtype=down.weight.dtype)
        down.register_buffer("leading", ones, persistent=False)
        down.register_forward_hook(_mask)


@contextmanager
def truncated(network: nn.Module, rank: int) -> Iterator[None]:
    """Run the adapter with its first `rank` ranks alone; forward and backward both belong inside.

    Raises:
        ValueError: the network was not prepared.
    """
    downs = [layer.lora_A[lora.NAME] for layer in lora.layers(network).values()]
    masks: list[Tensor] = [down.leading for down in downs if hasattr(down, "leading")]
    if not masks:
        raise ValueError("truncated: `prepare` the network first")
    for mask in masks:
        mask[rank:] = 0
    try:
        yield
    finally:
        for mask in masks:
            mask[rank:] = 1


def _mask(down: Any, args: Any, hidden: Tensor) -> Tensor:
    masked: Tensor = hidden * down.leading
    return masked
