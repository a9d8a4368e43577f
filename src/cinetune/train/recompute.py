"""Selective checkpointing: most blocks are computed again in the backward pass, the last ones keep their activations.

The last ones, because the backward pass begins with them: what they keep is gone before the first block is computed
again, and the two never lie in memory together.
"""

from collections.abc import Collection
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from cinetune.ops.flops import Shape
from cinetune.ops.memory import ALLOCATOR_SLACK, Setup, kept_by_blocks, training_memory
from cinetune.speed.offload import Offloaded
from cinetune.train.work import Work

HEADROOM = 0.1
"""Share of the free memory that is left alone: cuBLAS and cuDNN take some, and the estimate is one."""
HELD = ("weights", "weights cast to bf16", "adapter", "CUDA context")
"""Terms of the estimate that the GPU holds already when its free memory is asked for."""


def checkpoint_blocks(network: nn.Module, kept: Collection[nn.Module] = (), offloaded: Offloaded | None = None) -> None:
    """Compute every block again in the backward pass but those in `kept`. The gradients are the same bit for bit."""

    def run(block: nn.Module, *given: Any) -> Any:
        if block in kept:
            return block(*given)
        if offloaded is not None and block in offloaded.places:
            return offloaded.run(block, *given)
        return checkpoint(block, *given, use_reentrant=False)

    wan: Any = network
    wan.enable_gradient_checkpointing(run)


def affordable(
    work: Work, shape: Shape, *, half: bool, free: int, there: bool = True, shards: int = 1, ulysses: int = 1
) -> int:
    """Return how many blocks can keep their activations.

    Args:
        work: the network as it is trained.
        shape: the largest micro-batch.
        half: whether it is computed in bf16.
        free: bytes of the GPU that nobody holds.
        there: whether the network is on the GPU already.
        shards: GPUs that share the trained state.
        ulysses: GPUs that share the tokens.
    """
    setup = Setup("bf16" if half else "fp32", work.layers, work.rank, True, shards, ulysses)
    terms = training_memory(work.sizes, shape, setup)
    needed = sum(size for name, size in terms.items() if not (there and name in HELD))
    layers = work.sizes.num_layers
    each = max(kept_by_blocks(work.sizes, shape, setup)) - terms["block inputs"] // layers
    left = free * (1 - HEADROOM) - needed
    if left < 0:
        return 0
    return min(layers, int((left / (1 + ALLOCATOR_SLACK) + terms["block computed again"]) / each))


def free_on_gpu(device: torch.device) -> int:
    """Return the bytes that PyTorch may still take on a GPU, what its allocator holds unused included."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
