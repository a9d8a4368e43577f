"""From torchrun's environment and the recipe's `system` section to an engine."""

import importlib
import os
from datetime import timedelta

import torch
from torch import distributed
from torch._C._distributed_c10d import HashStore

from cinetune import console
from cinetune.errors import RunError
from cinetune.train.engines._contract import Engine, Ranks

PATIENCE = timedelta(hours=2)
"""How long a rank waits for the others, such as for the one that writes; one that fails is noticed by torchrun."""


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
    rank, world, local = _environment()
    if world % context_parallel:
        raise RunError(f"system.context_parallel = {context_parallel} does not divide the number of processes, {world}")
    if name == "auto":
        name = "single" if world == 1 else "fsdp2"
    if name == "single" and world > 1:
        raise RunError(
            f"system.engine = 'single', but there are {world} processes; start one, or choose auto, ddp, fsdp2 or zero3"
        )
    ranks, device = Ranks(rank, world, context_parallel), _own(device, local)
    engine: Engine = importlib.import_module(f"cinetune.train.engines.{name}").ENGINE(ranks, device)
    if name != "single":
        _join(rank, world, device)
    if ranks.main and name != "single":
        sharing = f", each clip's tokens shared by {context_parallel} (Ulysses)" if context_parallel > 1 else ""
        console.note(f"train: engine {name}, {world} process{'es' * (world > 1)} on {device.type}{sharing}")
    return engine


def _environment() -> tuple[int, int, int]:
    """Return rank, number of processes and rank on this machine."""
    if "WORLD_SIZE" not in os.environ:
        return 0, 1, 0
    given = os.environ["WORLD_SIZE"]
    numbers = {}
    for key in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        value = os.environ.get(key, "" if given != "1" else "0")
        if not value.isdecimal():
            raise RunError(f"WORLD_SIZE is {given}, but {key} is {value!r}; start with torchrun, or unset WORLD_SIZE")
        numbers[key] = int(value)
    world, rank, local = numbers.values()
    if world > 1 and not (os.environ.get("MASTER_ADDR") and os.environ.get("MASTER_PORT")):
        raise RunError(f"WORLD_SIZE is {given}, but MASTER_ADDR or MASTER_PORT is not set; start with torchrun, "
                       "or unset WORLD_SIZE")  # fmt: skip
    if rank >= world:
        raise RunError(f"RANK is {rank}, but WORLD_SIZE is {world}; start with torchrun, or unset both")
    return rank, world, local


def _own(device: torch.device, local: int) -> torch.device:
    """Return this process's device, made the current one where it is a GPU."""
    if device.type != "cuda":
        return device
    if device.index is None:
        count = torch.cuda.device_count()
        if local >= count:
            raise RunError(f"process {local} of this machine has no GPU of its own, there are {count}; start fewer")
        device = torch.device("cuda", local)
    torch.cuda.set_device(device)
    return device


def _join(rank: int, world: int, device: torch.device) -> None:
    if distributed.is_initialized():
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    if world == 1:  # nobody to meet: no port, so that it works without torchrun
        distributed.init_process_group(backend, store=HashStore(), rank=0, world_size=1)
    else:
        distributed.init_process_group(backend, timeout=PATIENCE)
