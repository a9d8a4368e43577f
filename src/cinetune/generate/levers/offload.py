"""Weights of some blocks in main memory, on the GPU only while their block works."""

import torch

from cinetune.errors import RecipeError
from cinetune.generate.levers._contract import Lever, Opening, Order, without_gpu
from cinetune.generate.window import Rig
from cinetune.models._velocity import parts
from cinetune.speed.offload import offload_blocks


def _open(opening: Opening, value: str) -> None:
    if not (value.isdecimal() and int(value)):
        raise RecipeError(f"--lever offload={value}: give a number of blocks, 1 or more")
    opening.place = torch.device("cpu")


def _obstacle(rig: Rig, value: str) -> str:
    least = min(len(part.blocks) for part in parts(rig.network))  # type: ignore[arg-type]
    return f"the network has {least} blocks" if int(value) > least else ""


def _apply(rig: Rig, value: str) -> str:
    for part in parts(rig.network):
        away = offload_blocks(part, int(value), rig.device)
        homes = {id(tensor) for block in away.homes for tensor, _ in block}
        for tensor in (*part.parameters(), *part.buffers()):
            if id(tensor) not in homes:
                tensor.data = tensor.data.to(rig.device)
    rig.offloaded = True
    return ""


LEVER = Lever(
    name="offload",
    does="Keeps the weights of this many blocks in main memory; each is copied to the GPU while the one before it "
    "works.",
    changes="nothing",
    order=Order.WEIGHTS,
    source="cinetune.speed.offload",
    means="a number of blocks, spread evenly",
    open=_open,
    obstacle=_obstacle,
    idle=without_gpu,
    apply=_apply,
)
