"""The block that the network repeats, compiled once for all its copies."""

from typing import Any

import torch

from cinetune.generate.levers._contract import Lever, Order, without_gpu
from cinetune.generate.window import Rig
from cinetune.models._velocity import parts
from cinetune.speed.compiling import what_is_missing


def _obstacle(rig: Rig, value: str) -> str:
    missing = what_is_missing(rig.device)
    return f"{missing}; install it" if missing else ""


def _apply(rig: Rig, value: str) -> str:
    """Compile what a block does, below whatever will be hooked onto it.

    diffusers' compile_repeated_blocks compiles the hooks too, and fails in those of caches and context parallelism.
    """
    for part in parts(rig.network):
        any_part: Any = part
        for block in any_part.blocks:
            block.forward = torch.compile(block.forward, fullgraph=True)
    return "the first step takes longer"


LEVER = Lever(
    name="compile",
    does="Compiles the block: what lies between the matrix products becomes few passes over memory.",
    changes="rounding",
    order=Order.COMPILE,
    source="diffusers 0.42 models/modeling_utils.py, compile_repeated_blocks; 1.22 times as fast at 480p on an H100 "
    "(huggingface/diffusers#11605)",
    obstacle=_obstacle,
    idle=without_gpu,
    apply=_apply,
    clashes={"offload": "compiled blocks have not been tried with weights that come and go"},
)
