"""Decode one video on processes that are really started: `python tile_ranks.py FOLDER`, which gets RANK.pt of each.

One process imports and then forks four: all of them are a group, and the first two are another.
"""

import multiprocessing
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from cinetune.errors import RunError
from cinetune.models._decoder import WanDecoder
from cinetune.models._tiles import decode_parallel
from cinetune.nano.vae import build

CPU = torch.device("cpu")
GRIDS = {"even": (2, 2), "uneven": (1, 3), "fewer tiles than processes": (1, 1)}


class Broken(nn.Module):
    """A layer that finds no room."""

    def forward(self, _: Tensor) -> Tensor:
        raise MemoryError("no room")


def latents() -> Tensor:
    return torch.randn(1, 16, 2, 7, 9, generator=torch.Generator().manual_seed(0))


def work(rank: int, folder: Path) -> None:
    """One of the four processes."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=4)
    pair: Any = distributed.new_group([0, 1])
    vae, z = build(0, base_dim=8).eval(), latents()
    found: dict[str, Any] = {f"4 {name}": decode_parallel(vae, z, grid) for name, grid in GRIDS.items()}
    if rank < 2:
        found |= {f"2 {name}": decode_parallel(vae, z, grid, pair) for name, grid in GRIDS.items()}
        found["2 decoder"] = WanDecoder(vae, CPU, group=pair).decode(z)
        found["2 decoder of 6"] = WanDecoder(vae, CPU, tiles=6, group=pair).decode(z)
        found["2 bf16"] = decode_parallel(vae.to(torch.bfloat16), z.bfloat16(), (1, 2), pair)
        vae.float()
    if rank == 2:
        vae.post_quant_conv = Broken()
    try:
        decode_parallel(vae, z, (2, 2))
    except (RunError, MemoryError) as error:
        found["error"] = f"{type(error).__name__}: {error}"
    torch.save(found, folder / f"{rank}.pt")
    distributed.destroy_process_group()


def main(folder: Path) -> int:
    fork = multiprocessing.get_context("fork")
    ranks = [fork.Process(target=work, args=(rank, folder)) for rank in range(4)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    return max(abs(process.exitcode or 0) for process in ranks)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
