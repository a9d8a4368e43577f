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
from torch.distributed.device_mesh import DeviceMesh

from cinetune.errors import RunError
from cinetune.models._quiet import quiet
from cinetune.models._velocity import parts
from cinetune.speed.processes import hush_torch


def split_tokens(network: nn.Module, degree: int, mesh: DeviceMesh, *, option: str) -> None:
    """Make the processes of a group share their tokens.

    Args:
        network: one, or two experts.
        degree: processes of a group.
        mesh: has a dimension "ulysses" of that many processes, and "ring" of one.
        option: what the user calls the degree.

    Raises:
        RunError: the attention heads cannot be shared out evenly. Later, by a forward pass, if the tokens cannot.
    """
    hush_torch()
    logging.getLogger("diffusers.hooks.context_parallel").setLevel(logging.ERROR)  # "split will not be applied"
    for part in parts(network):
        _split(part, degree, mesh, option)


def _split(network: Any, degree: int, mesh: DeviceMesh, option: str) -> None:
    from diffusers import ContextParallelConfig

    heads = network.config.num_attention_heads
    if heads % degree:
        raise RunError(f"{option} = {degree} does not divide the model's {heads} attention heads")

    def check(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        sizes = kwargs["hidden_states"].shape[2:]
        tokens = math.prod(size // patch for size, patch in zip(sizes, network.config.patch_size, strict=True))
        if tokens % degree:
            size = " x ".join(map(str, sizes))
            raise RunError(
                f"{option} = {degree} does not divide the {tokens} tokens of {size} latents; "
                "choose another, or another size"
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
