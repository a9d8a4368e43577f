"""Weights in parts: each process holds a part of every weight, and blocks are put together as their turn comes."""

from typing import Any

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from cinetune.models._velocity import parts
from cinetune.speed.processes import hush_torch


def shard(network: nn.Module, mesh: DeviceMesh) -> None:
    """Shard a frozen network, adapters and all, by torch's fully_shard: one group a block and one for the rest.

    All processes go through the same blocks in the same order, or they wait for each other for ever.

    Args:
        network: one, or two experts; on its device, or on the CPU, from where each part moves as it is sharded.
        mesh: of one dimension.
    """
    hush_torch()
    for part in parts(network):
        any_part: Any = part
        for block in any_part.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(part, mesh=mesh)
