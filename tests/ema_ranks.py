"""Average weights that two processes share by FSDP2: `python ema_ranks.py FOLDER`, which gets RANK.pt of each."""

import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from cinetune.train.ema import Ema

DECAY, UPDATES = 0.9, 3


def build() -> nn.Sequential:
    """Sizes that two processes cannot share evenly, and a frozen layer."""
    g = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 7), nn.Linear(7, 1, bias=False))
    for weight in network.parameters():
        weight.data = torch.randn(weight.shape, generator=g)
    network[1].requires_grad_(False)
    return network


def change(network: nn.Module, update: int) -> None:
    """What a step would do: by elements, so that it is the same for parts."""
    with torch.no_grad():
        for weight in network.parameters():
            if weight.requires_grad:
                weight.mul_(1 + 0.1 * update).add_(0.01 * update)


def work(rank: int, folder: Path) -> None:
    """One of the two processes."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    network: Any = build()
    mesh = init_device_mesh("cpu", (2,))
    fully_shard(network[0], mesh=mesh)
    fully_shard(network, mesh=mesh)
    assert all(isinstance(w, DTensor) for w in network.parameters())
    ema, x = Ema(network, DECAY), torch.ones(2, 5)
    for update in range(UPDATES):
        change(network, update)
        ema.update()
    found: dict[str, Any] = {"state": ema.state()}
    with torch.no_grad():
        found["before"] = network(x).clone()
        with ema.applied():
            found["averaged"] = network(x).clone()
        found["after"] = network(x).clone()
    other = Ema(network, DECAY)
    other.load(found["state"])
    found["loaded"] = other.state()
    torch.save(found, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    started = [context.Process(target=work, args=(rank, Path(sys.argv[1]))) for rank in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    sys.exit(max(abs(process.exitcode or 0) for process in started))
