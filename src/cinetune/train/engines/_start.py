"""From torchrun's environment and the recipe's `system` section to an engine."""

import importlib

import torch

from cinetune import console
from cinetune.errors import RunError
from cinetune.speed.processes import join, own_device, place
from cinetune.train.engines._contract import Engine, Ranks


def start_engine(name: str, context_parallel: int, device: torch.device) -> Engine:
    """Connect the processes that torchrun started and return the engine, saying which it is.

    Args:
        name: a file of this folder, or "auto": single for one process, fsdp2 for several.
        context_parallel: neighbouring processes that share the tokens of one clip.
        device: what to compute on; of several GPUs, each process takes the one of its local rank.

    Raises:
        RunError: the environment is not torchrun's, the processes cannot be grouped so, this machine has fewer GPUs
            than processes, or the engine's library is not installed.
    """
    rank, world, local = place()
    if world % context_parallel:
        raise RunError(f"system.context_parallel = {context_parallel} does not divide the number of processes, {world}")
    if name == "auto":
        name = "single" if world == 1 else "fsdp2"
    if name == "single" and world > 1:
        raise RunError(
            f"system.engine = 'single', but there are {world} processes; start one, or choose auto, ddp, fsdp2 or zero3"
        )
    ranks, device = Ranks(rank, world, context_parallel), own_device(device, local)
    engine: Engine = importlib.import_module(f"cinetune.train.engines.{name}").ENGINE(ranks, device)
    if name != "single":
        join(rank, world, device)
    if ranks.main and name != "single":
        sharing = f", each clip's tokens shared by {context_parallel} (Ulysses)" if context_parallel > 1 else ""
        console.note(f"train: engine {name}, {world} process{'es' * (world > 1)} on {device.type}{sharing}")
    return engine
