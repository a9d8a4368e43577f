"""Batches made ahead of time by one thread, in order; their values do not depend on it."""

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from itertools import count
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def prefetched(make: Callable[[int], T], start: int, depth: int) -> Generator[T]:
    """Yield make(start), make(start + 1), ... without end, up to `depth` of them made before they are asked for.

    Closing the iterator ends the thread; what `make` raises is raised where the batch is asked for.

    Args:
        make: called with one number at a time, in order, from one thread.
        start: the first number.
        depth: 0 makes each one when it is asked for, without a thread.
    """
    if depth == 0:
        yield from map(make, count(start))
        return
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue()
    free, over = threading.Semaphore(depth), threading.Event()

    def work() -> None:
        for number in count(start):
            free.acquire()
            if over.is_set():
                return
            try:
                ready.put((make(number), None))
            except BaseException as error:
                ready.put((None, error))
                return

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            value, error = ready.get()
            if error is not None:
                raise error
            free.release()
            yield value  # type: ignore[misc]  # there is no error, so it is a T
    finally:
        over.set()
        free.release()
        thread.join()


def pinned(make: Callable[[int], T], device: torch.device) -> Callable[[int], T]:
    """Return `make` with its tensors in pinned memory where the device is a GPU: copies need not be waited for."""
    if device.type != "cuda":
        return make
    return lambda number: each_tensor(make(number), Tensor.pin_memory)


def moved(batches: Iterator[T], device: torch.device) -> Iterator[T]:
    """Yield the batches on a device; a copy from pinned memory overlaps with what the device is doing."""
    return (each_tensor(batch, lambda tensor: tensor.to(device, non_blocking=True)) for batch in batches)


def each_tensor(value: T, change: Callable[[Tensor], Tensor]) -> T:
    """Return the value with every tensor in it changed: in dataclasses, mappings, lists and tuples, at any depth."""
    changed: Any = value
    if isinstance(value, Tensor):
        changed = change(value)
    elif is_dataclass(value) and not isinstance(value, type):
        changed = replace(value, **{f.name: each_tensor(getattr(value, f.name), change) for f in fields(value)})
    elif isinstance(value, Mapping):
        changed = {key: each_tensor(item, change) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        changed = type(value)(each_tensor(item, change) for item in value)
    result: T = changed
    return result
