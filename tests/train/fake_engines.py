"""Engines without a network between their processes: one rank alone, and several as threads of this process."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from cinetune.train.engines._contract import Ranks

R = TypeVar("R")


class FakeEngine:
    """What validation asks of an engine."""

    name = "fake"
    device = torch.device("cpu")
    lockstep = True

    def __init__(self, ranks: Ranks, exchange: Callable[[int, Any], list[Any]]) -> None:
        self.ranks, self.exchange, self.gathered = ranks, exchange, 0

    def gather(self, value: Any) -> list[Any]:
        self.gathered += 1
        return self.exchange(self.ranks.data_rank, value)

    def refuse(self, *_: object, **__: object) -> Any:
        raise AssertionError("validation has no business with this")

    prepare = backward = step = state = load_state = sum = close = refuse


def alone() -> Any:
    return FakeEngine(Ranks(), lambda _, value: [value])


def together(world: int, work: Callable[[Any], R]) -> list[R]:
    """Do the work on `world` ranks at once and return what each made; a rank that misses a meeting breaks them all."""
    barrier, table = threading.Barrier(world, timeout=60), [None] * world
    results: list[Any] = [None] * world

    def exchange(rank: int, value: Any) -> list[Any]:
        table[rank] = value
        barrier.wait()
        everyone = list(table)
        barrier.wait()
        return everyone

    def run(rank: int) -> None:
        try:
            results[rank] = work(FakeEngine(Ranks(rank, world), exchange))
        except BaseException as error:
            results[rank] = error
            barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, threading.BrokenBarrierError):
            raise result
    return results
