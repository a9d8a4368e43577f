"""Context parallelism: neighbouring ranks share the tokens of one clip (DeepSpeed-Ulysses, Jacobs et al. 2023).

Each rank computes its share of the tokens and, inside self-attention, all tokens of its share of the heads; text and
image tokens are whole on every rank. Every rank gets the whole answer, hence the whole loss, but the gradient of its
own tokens only: the sum over all ranks is the gradient of the step.
"""

import logging
import math
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from cinetune.errors import RunError
from cinetune.models._quiet import quiet
from cinetune.models._velocity import Experts
from cinetune.train.engines._base import hush
from cinetune.train.engines._contract import Ranks


def split_tokens(network: nn.Module, ranks: Ranks, device: torch.device) -> None:
    """Make the ranks of a context-parallel group share their tokens; nothing to do where a group is one rank.

    Raises:
        RunError: the attention heads cannot be shared out evenly. Later, by a forward pass, if the tokens cannot.
    """
    if ranks.context_parallel == 1:
        return
    hush()
    logging.getLogger("diffusers.hooks.context_parallel").setLevel(logging.ERROR)  # "split will not be applied"
    shape = (ranks.data_world, 1, ranks.context_parallel)
    mesh = init_device_mesh(device.type, shape, mesh_dim_names=("data", "ring", "ulysses"))
    for part in network.by_name().values() if isinstance(network, Experts) else (network,):
        _split(part, ranks.context_parallel, mesh)


def refuse_experts(network: nn.Module, engine: str) -> None:
    """Raise RunError for two networks of which a step may leave one out: ranks would wait for each other for ever."""
    if isinstance(network, Experts):
        raise RunError(f"system.engine = {engine!r} cannot train a model of two experts; choose 'ddp'")


def _split(network: Any, degree: int, mesh: DeviceMesh) -> None:
    from diffusers import ContextParallelConfig

    heads = network.config.num_attention_heads
    if heads % degree:
        raise RunError(f"system.context_parallel = {degree} does not divide the model's {heads} attention heads")

    def check(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        sizes = kwargs["hidden_states"].shape[2:]
        tokens = math.prod(size // patch for size, patch in zip(sizes, network.config.patch_size, strict=True))
        if tokens % degree:
            size = " x ".join(map(str, sizes))
            raise RunError(
                f"system.context_parallel = {degree} does not divide the {tokens} tokens of a clip of {size} latents; "
                "choose another, or another size of clips"
            )

    network.register_forward_pre_hook(check, with_kwargs=True)
    count = torch.accelerator.device_count
    if not count():
        # diffusers 0.42 divides by the number of accelerators without asking whether there are any; what it computes
        # from it is not used, since the mesh is given.
        torch.accelerator.device_count = lambda: 1
    try:
        with quiet():
            network.enable_parallelism(config=ContextParallelConfig(ulysses_degree=degree, mesh=mesh))
    finally:
        torch.accelerator.device_count = count
