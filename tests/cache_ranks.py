"""Caches on two processes: `python cache_ranks.py MODEL FOLDER HOW+HOW`, which gets HOW-RANK.pt of each.

tokens: both share the tokens of one window, and what each of them sees alone would decide differently.
silent: the same without a vote.
weights: both share the weights; each makes a window of its own and leaves out blocks at a threshold of its own.
"""

import multiprocessing
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from cinetune.generate.window import Rig
from cinetune.models._velocity import parts
from cinetune.models._wan import WanModel
from cinetune.speed.ulysses import split_tokens
from lever_studio import studio, window, work

WORLD = 2
WEIGHTS = (1, 0)
"""Thresholds of the two that share weights: one leaves out what it can, the other nothing."""


class Two:
    """Two processes that share tokens or weights, and remember what each would have decided by."""

    def __init__(self, how: str) -> None:
        self.how = how
        self.alone: list[float] = []
        self.together: list[float] = []

    def place(self, device: torch.device) -> torch.device:
        return device

    def share(self, rig: Rig) -> None:
        if self.how == "weights":
            mesh = init_device_mesh("cpu", (WORLD,))
            for part in parts(rig.network):
                any_part: Any = part
                for block in any_part.blocks:
                    fully_shard(block, mesh=mesh)
                fully_shard(part, mesh=mesh)
            return
        mesh = init_device_mesh("cpu", (1, WORLD), mesh_dim_names=("ring", "ulysses"))
        split_tokens(rig.network, WORLD, mesh, option="processes")
        rig.vote = self.vote

    def vote(self, mine: Tensor) -> Tensor:
        total = mine.clone()
        distributed.all_reduce(total)
        self.alone.append(float(mine[0] / mine[1]))
        self.together.append(float(total[0] / total[1]))
        return mine if self.how == "silent" else total


def between(two: Two) -> float:
    """A threshold that lies between what the two would decide by alone, at the step where they are furthest apart."""
    everything: list[list[float]] = [[]] * WORLD
    distributed.all_gather_object(everything, two.alone)
    _, a, b = max((abs(a - b) / (a + b), a, b) for a, b in zip(*everything, strict=True))
    return (a + b) / 2


def run(rank: int, model: WanModel, how: str) -> dict[str, Any]:
    if how == "weights":
        room = studio(model, f"first_block={WEIGHTS[rank]}", sharing=Two(how))
        mine = window(seed=rank + 1)
        return {"latents": room.latents(mine), "blocks": work(room, mine)["blocks"]}
    looking = Two("tokens")
    studio(model, "first_block=0", sharing=looking).latents(window())
    threshold, two = between(looking), Two(how)
    latents = studio(model, f"first_block={threshold}", sharing=two).latents(window())
    return {"latents": latents, "threshold": threshold, "alone": two.alone, "together": two.together}


def start(rank: int, model: WanModel, folder: Path, how: str) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(WORLD)}
    patience = timedelta(seconds=10 if how == "silent" else 120)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=WORLD, timeout=patience
    )
    for each in how.split("+"):
        torch.save(run(rank, model, each), folder / f"{each}-{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    source, out, asked = sys.argv[1:]
    context = multiprocessing.get_context("fork")
    given = WanModel(name="tiny", source=source), Path(out), asked
    started = [context.Process(target=start, args=(rank, *given)) for rank in range(WORLD)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    sys.exit(max(abs(process.exitcode or 0) for process in started))
