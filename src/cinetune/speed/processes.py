"""The processes that torchrun started: which this is, its device, and the group of all of them."""

import os
import warnings
from datetime import timedelta

import torch
from torch import distributed
from torch._C._distributed_c10d import HashStore

from cinetune.errors import RunError

PATIENCE = timedelta(hours=2)
"""How long a rank waits for the others, such as for the one that writes; one that fails is noticed by torchrun."""


def place() -> tuple[int, int, int]:
    """Return rank, number of processes and rank on this machine.

    Raises:
        RunError: the environment is not torchrun's.
    """
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


def own_device(device: torch.device, local: int) -> torch.device:
    """Return this process's device, made the current one where it is a GPU.

    Raises:
        RunError: this machine has fewer GPUs than processes.
    """
    if device.type != "cuda":
        return device
    if device.index is None:
        count = torch.cuda.device_count()
        if local >= count:
            raise RunError(f"process {local} of this machine has no GPU of its own, there are {count}; start fewer")
        device = torch.device("cuda", local)
    torch.cuda.set_device(device)
    return device


def join(rank: int, world: int, device: torch.device) -> None:
    """Open the process group of all processes, where it is not open."""
    if distributed.is_initialized():
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    if world == 1:  # nobody to meet: no port, so that it works without torchrun
        distributed.init_process_group(backend, store=HashStore(), rank=0, world_size=1)
    else:
        distributed.init_process_group(backend, timeout=PATIENCE)


def hush_torch() -> None:
    """Leave out two warnings of torch that come at every step and that only its callers can act on."""
    warnings.filterwarnings("ignore", r"`torch\.distributed\..*` is deprecated", FutureWarning)
    # The network's answer is a view; nothing here writes into it.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor", UserWarning)
