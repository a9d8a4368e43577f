"""Context parallelism as training uses it: neighbouring ranks share the tokens of one clip."""

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

from cinetune.errors import RunError
from cinetune.models._velocity import Experts
from cinetune.speed.ulysses import split_tokens
from cinetune.train.engines._contract import Ranks


def share_tokens(network: nn.Module, ranks: Ranks, device: torch.device) -> None:
    """Make the ranks of a context-parallel group share their tokens; nothing to do where a group is one rank.

    Raises:
        RunError: as `split_tokens`.
    """
    if ranks.context_parallel > 1:
        shape = (ranks.data_world, 1, ranks.context_parallel)
        mesh = init_device_mesh(device.type, shape, mesh_dim_names=("data", "ring", "ulysses"))
        split_tokens(network, ranks.context_parallel, mesh, option="system.context_parallel")


def refuse_experts(network: nn.Module, engine: str) -> None:
    """Raise RunError for two networks of which a step may leave one out: ranks would wait for each other for ever."""
    if isinstance(network, Experts):
        raise RunError(f"system.engine = {engine!r} cannot train a model of two experts; choose 'ddp'")
