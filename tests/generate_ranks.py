"""Make windows on processes that are really started: `python generate_ranks.py FOLDER MODEL EXPERTS CASES...`.

The imports take longer than the work, so one process imports and then forks four. All four are a team first, then the
first two; the last one then works alone, which is what the others are compared with. Each process leaves
FOLDER/RANK.pt: {case: what it found}.
"""

import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.attention_dispatch import AttentionBackendName

from cinetune.adapters import lora
from cinetune.errors import CinetuneError
from cinetune.generate.network import Trained
from cinetune.generate.parallel.assign import assign
from cinetune.generate.parallel.degrees import Degrees
from cinetune.generate.parallel.team import Process, Team, together
from cinetune.generate.studio import Sharing, choose, open_studio
from cinetune.generate.window import Sampling, Studio, Window
from cinetune.models._wan import WanModel
from cinetune.ops.video import to_deep
from generate_endings import free_port, meet_at
from tiny_model import CAPTIONS

CPU = torch.device("cpu")
SIZE = (9, 32, 64)
SAMPLING = Sampling(steps=4, guidance=3.0, shift=3.0, negative="blurred")
CASES: dict[str, tuple[str, str]] = {  # name: degrees, and what is made
    "two halves, tokens in two": ("guidance=2,ulysses=2", "beside"),
    "two halves, tokens in two, merged": ("guidance=2,ulysses=2", "merged"),
    "two halves, tokens in two, shards": ("guidance=2,ulysses=2,shard=yes", "beside"),
    "tokens in four": ("ulysses=4", "merged"),
    "two films, tokens in two": ("segments=2,ulysses=2", "beside"),
    "four films": ("segments=4", "beside"),
    "experts": ("guidance=2,ulysses=2,shard=yes", "experts"),
    "first block": ("guidance=2,ulysses=2", "first_block=0.35"),
    "first block, shards": ("guidance=2,ulysses=2,shard=yes", "first_block=0.35"),
    "first block, less guidance": ("guidance=2,ulysses=2,shard=yes", "first_block=0.35 adaptive_guidance=0.2"),
    "2: tokens in two": ("ulysses=2", "beside"),
    "2: two halves": ("guidance=2", "merged"),
    "2: two halves, shards": ("guidance=2,shard=yes", "merged"),
    "2: tokens in two, shards": ("ulysses=2,shard=yes", "beside"),
    "2: two films": ("segments=2", "beside"),
    "2: compiled": ("ulysses=2,shard=yes", "compile"),
}


def windows() -> list[Window]:
    """Two lengths in turn; the last one starts from a picture."""
    g = np.random.default_rng(0)
    pictures = [np.repeat(np.repeat(g.integers(0, 65536, (4, 8, 3)), 8, 0), 8, 1).astype(np.uint16) for _ in range(3)]
    return [
        Window(CAPTIONS[0], 7, 9, pictures[0]),
        Window(CAPTIONS[1], 8, 5, pictures[1]),
        Window(CAPTIONS[2], 9, 9, pictures[2], strength=0.6),
    ]


def write_adapter(model: WanModel, path: Path) -> Path:
    """Write an adapter that does something."""
    network = model.load_transformer(CPU, torch.float32)
    lora.inject(network, model.adapter_targets(image_projections=True), rank=4, alpha=8.0, seed=0)
    g = torch.Generator().manual_seed(2)
    for weight in lora.parameters(network):
        weight.data = torch.randn(weight.shape, generator=g) * 0.2
    lora.save(path, network)
    return path


def studio(what: str, folder: Path, models: list[str], sharing: Sharing | None = None, **changes: Any) -> Studio:
    """A studio of a case: an adapter beside the weights, merged, or none and levers."""
    trained = [Trained(folder / "style.safetensors")] if what in ("beside", "merged") else []
    levers = {"beside": [], "experts": [], "merged": ["merge"]}.get(what, what.split())
    model = WanModel("tiny", models[what == "experts"])
    given = {"sampling": SAMPLING, "size": SIZE} | changes
    return open_studio(
        model, trained, given["sampling"], given["size"], CAPTIONS, device=CPU, dtype=torch.float32,
        pulls=choose("exact", levers), sharing=sharing,
    )  # fmt: skip


def make(studio: Studio, places: list[int]) -> dict[int, Any]:
    """Latents and frames of some windows, and how many blocks were run."""
    count = 0

    def counted(*_: Any) -> None:
        nonlocal count
        count += 1

    any_rig: Any = studio.rig
    networks = [any_rig.network] if hasattr(any_rig.network, "blocks") else list(any_rig.network.by_name().values())
    for network in networks:
        network.blocks[-1].ffn.register_forward_pre_hook(counted)
    found = {}
    for place in places:
        count, window = 0, windows()[place]
        latents = studio.latents(window)
        frames = to_deep(studio.rig.decoder.decode(latents)[0])
        found[place] = {"latents": latents, "frames": frames.astype(np.int32), "ran": count}
    return found


def case(name: str, process: Process, folder: Path, models: list[str]) -> dict[int, Any]:
    """Each group makes its chains, of one window each."""
    text, what = CASES[name]
    team = Team(process, Degrees.parse(text, process.world))
    chains = [[(str(n), float(window.frames))] for n, window in enumerate(windows())]
    mine = assign(chains, team.degrees.segments)[team.segment]
    found = make(studio(what, folder, models, team), mine)
    assert team.from_lead(process.rank) == process.rank - process.rank % team.degrees.group
    assert process.from_main(process.rank) == 0
    assert team.gather(process.rank) == list(range(process.world))
    return found


def line(call: Callable[[], object]) -> str:
    """The message of the error that the call raises."""
    try:
        call()
    except CinetuneError as error:
        return str(error)
    return "nothing was raised"


def refusals(process: Process, folder: Path, models: list[str]) -> dict[str, str]:
    """What comes too late, or cannot be shared. All processes fail alike, before any of them waits."""

    def team(text: str) -> Team:
        return Team(process, Degrees.parse(text, process.world))

    late = studio("beside", folder, models, team("ulysses=4,shard=yes"))
    lora.inject(late.rig.network, ["ffn.net.2"], rank=2, alpha=2.0, seed=0)
    caching = studio("beside", folder, models, team("ulysses=4"))
    caching.rig.caching = True
    free = Sampling(steps=2, guidance=1.0, shift=3.0)

    def kernel() -> object:
        plain = studio("beside", folder, models)
        for block in plain.rig.network.blocks:
            block.attn1.processor._attention_backend = AttentionBackendName("_native_math")
        return team("ulysses=4").share(plain.rig)

    return {
        "late layer": line(lambda: late.latents(windows()[0])),
        "late cache": line(lambda: caching.latents(windows()[0])),
        "tokens": line(lambda: studio("beside", folder, models, team("ulysses=4"), size=(9, 32, 48)).latents(narrow())),
        "guidance": line(lambda: studio("beside", folder, models, team("guidance=2,ulysses=2"), sampling=free)),
        "kernel": line(kernel),
        "world": line(lambda: Team(process, Degrees(ulysses=3))),
    }


def narrow() -> Window:
    """A window whose 18 tokens do not divide by 4."""
    return Window(CAPTIONS[0], 7, 9, np.zeros((32, 48, 3), np.uint16))


def work(rank: int, port: int, folder: Path, models: list[str], cases: list[str]) -> None:
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for world in (4, 2):
        chosen = [name for name in cases if name in CASES and name.startswith("2: ") == (world == 2)]
        if rank >= world:
            continue
        meet_at(rank, world, port)
        with together(CPU) as process:
            for name in chosen:
                found[name] = case(name, process, folder, models)
            if "refusals" in cases and world == 4:
                found["refusals"] = refusals(process, folder, models)
            port = Team(process, Degrees(world)).gather(free_port())[0]
    if rank == 3:
        kinds = dict.fromkeys(CASES[name][1] for name in cases if name in CASES)
        found = {"alone": {kind: make(studio(kind, folder, models), [0, 1, 2]) for kind in kinds}} | found
    torch.save(found, folder / f"{rank}.pt")


def main(folder: Path, tiny: str, experts: str, *cases: str) -> int:
    write_adapter(WanModel("tiny", tiny), folder / "style.safetensors")
    fork = multiprocessing.get_context("fork")
    given = (free_port(), folder, [tiny, experts], list(cases))
    ranks = [fork.Process(target=work, args=(rank, *given)) for rank in range(4)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    return max(abs(process.exitcode or 0) for process in ranks)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
