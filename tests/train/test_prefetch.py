"""Batches made ahead: the same ones, in order, from one thread that ends, and errors where the batch is wanted."""

import threading
import time
from dataclasses import dataclass
from itertools import islice

import pytest
import torch

from cinetune.errors import RecordError
from cinetune.train.prefetch import each_tensor, moved, pinned, prefetched

CPU = torch.device("cpu")


def drawn(number: int) -> torch.Tensor:
    return torch.randn(4, generator=torch.Generator().manual_seed(number))


def running() -> int:
    return sum(thread.name == "prefetch" for thread in threading.enumerate())


@pytest.mark.parametrize("depth", [0, 1, 2, 7])
def test_the_same_values_in_order(depth: int) -> None:
    batches = prefetched(drawn, 3, depth)
    for number, batch in zip(range(3, 23), islice(batches, 20), strict=True):
        assert torch.equal(batch, drawn(number))
    batches.close()  # type: ignore[attr-defined]
    assert running() == 0


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_than_asked_for_are_made_ahead(depth: int) -> None:
    made, more = list[int](), threading.Event()

    def make(number: int) -> int:
        made.append(number)
        if len(made) > depth + 1:
            more.set()
        return number

    batches = prefetched(make, 0, depth)
    assert next(batches) == 0
    assert not more.wait(0.2)
    assert next(batches) == 1
    assert more.wait(10), "room for one more"
    batches.close()  # type: ignore[attr-defined]


def test_they_are_made_while_the_last_one_is_used() -> None:
    begun = threading.Event()

    def make(number: int) -> int:
        if number == 1:
            begun.set()
        return number

    batches = prefetched(make, 0, 1)
    next(batches)
    assert begun.wait(10)
    batches.close()  # type: ignore[attr-defined]


def test_an_error_comes_out_where_its_batch_is_wanted() -> None:
    def make(number: int) -> int:
        if number == 2:
            raise RecordError("clip.safetensors: damaged")
        return number

    batches = prefetched(make, 0, 4)
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(RecordError, match="damaged"):
        next(batches)
    assert running() == 0


def test_an_error_in_the_loop_ends_the_thread() -> None:
    batches = prefetched(lambda number: number, 0, 2)
    next(batches)
    assert running() == 1
    del batches  # as when the loop is left
    deadline = time.monotonic() + 10
    while running() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert running() == 0


@dataclass(frozen=True)
class Batch:
    latents: torch.Tensor
    more: tuple[torch.Tensor, dict[str, torch.Tensor]]
    lengths: tuple[int, ...]


def test_every_tensor_moves_and_nothing_else() -> None:
    batch = Batch(torch.zeros(2), (torch.zeros(1), {"a": torch.zeros(3)}), (4, 5))
    changed = each_tensor(batch, lambda tensor: tensor + 1)
    assert torch.equal(changed.latents, torch.ones(2))
    assert torch.equal(changed.more[0], torch.ones(1))
    assert torch.equal(changed.more[1]["a"], torch.ones(3))
    assert changed.lengths == (4, 5)
    assert torch.equal(batch.latents, torch.zeros(2))
    assert next(moved(iter([batch]), torch.device("meta"))).latents.device.type == "meta"
    assert pinned(drawn, CPU) is drawn


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    device = torch.device("cuda")
    assert pinned(drawn, device)(1).is_pinned()
    batches = moved(prefetched(pinned(drawn, device), 0, 2), device)
    for number, batch in zip(range(20), islice(batches, 20), strict=True):
        assert torch.equal(batch.cpu(), drawn(number))
