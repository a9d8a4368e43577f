"""Several processes under torchrun: each looks at its share of the videos, the first one does the statistics."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed

from cinetune.devices import rank as rank
from cinetune.devices import size as size
from cinetune.errors import RunError

T = TypeVar("T")
PATIENCE = timedelta(days=7)
"""How long a process that is done waits for the others; one that fails is noticed by torchrun, not by time."""


def own_device(device: torch.device) -> torch.device:
    """Return the GPU of this process where torchrun started one for each, otherwise `device`."""
    if device.type != "cuda" or device.index is not None or size() == 1:
        return device
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


@contextmanager
def together() -> Iterator[None]:
    """Connect the processes, unless they are connected already or there is but one.

    Raises:
        RunError: the environment says that there are several, but not where they meet.
    """
    if size() == 1 or distributed.is_initialized():
        yield
        return
    if "MASTER_ADDR" not in os.environ:
        raise RunError(f"WORLD_SIZE is {size()}, but MASTER_ADDR is not set; start with torchrun, or unset WORLD_SIZE")
    distributed.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def gathered(mine: T) -> list[T]:
    """Return what each process gives, by rank, once all have come so far."""
    if size() == 1:
        return [mine]
    everything: list[T] = [mine] * size()
    distributed.all_gather_object(everything, mine)
    return everything
