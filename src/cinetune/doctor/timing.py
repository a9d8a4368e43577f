"""How long a piece of work takes on a device and what memory it holds at its peak."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from cinetune.devices import wait
from cinetune.doctor.vae import LiveBytes
from cinetune.errors import RunError

NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""What errors of no class of their own say."""


class Timed(NamedTuple):
    """Some runs of the same work."""

    runs: tuple[float, ...]
    """Seconds of each."""
    tensors: int
    """Bytes of tensors alive at the peak. On a GPU what PyTorch's allocator says; on a CPU counted in one more run."""
    in_use: int | None
    """Bytes of GPU memory that nobody else can have at the peak: the allocator's pool, and the CUDA context with
    whatever other programs hold there. None on a CPU."""


def run_timed(
    run: Callable[[], object], held: Callable[[], Iterable[Tensor]], device: torch.device, repeats: int
) -> Timed:
    """Run once to warm up (kernels are chosen, an optimiser makes its states), then `repeats` times by the clock.

    Args:
        run: the work.
        held: the tensors that are there before a run; asked for on a CPU, after the last timed run.
        device: where it runs.
        repeats: timed runs.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
    run()
    wait(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    runs = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        wait(device)
        runs.append(time.perf_counter() - began)
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        outside = total - free - torch.cuda.memory_reserved(device)
        in_use = torch.cuda.max_memory_reserved(device) + outside
        return Timed(tuple(runs), torch.cuda.max_memory_allocated(device), in_use)
    with LiveBytes() as live:
        live.hold(held())
        run()
    return Timed(tuple(runs), live.peak, None)


def size_of(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of some tensors."""
    return sum(tensor.nbytes for tensor in tensors)


@contextmanager
def enough_memory(doing: str, advice: str) -> Iterator[None]:
    """Turn running out of memory, which has several names, into one line.

    Raises:
        RunError: out of memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        told = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not told and not any(words in str(error).lower() for words in NO_MEMORY):
            raise
        raise RunError(f"--measure: out of memory while {doing}; {advice}") from None
