"""Train a tiny network with every engine on processes that are really started: `python engine_ranks.py FOLDER`.

The imports take longer than the work, so one process imports and then forks four. All four are a group first, then
the first two; the last one meanwhile trains alone, which is what the engines are compared with. Each process leaves
FOLDER/RANK.pt: {case: {...}}.
"""

import importlib.util
import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from cinetune.adapters import lora
from cinetune.errors import RunError
from cinetune.models._contract import Condition
from cinetune.models._facts import Facts
from cinetune.models._velocity import Experts, velocity
from cinetune.train.engines._contract import Engine, State
from cinetune.train.engines._start import start_engine

CPU = torch.device("cpu")
FACTS = Facts(kind="i2v", image_tokens=True, boundary=None, spatial=8, patch=2, half_vae=False)
CLIPS = 4
"""Of one step, on all processes."""
RATE = 0.02
STEPS, AGAIN = 20, 2


def build(
    seed: int = 0,
    *,
    adapter: bool = True,
    adapter_seed: int = 1,
    heads: int = 4,
    blocks: int = 1,
    dtype: torch.dtype = torch.float32,
) -> Any:
    """A Wan with an adapter whose B is not zero, or all of it trainable."""
    torch.manual_seed(seed)
    network = WanTransformer3DModel(
        num_attention_heads=heads, attention_head_dim=48 // heads, num_layers=blocks, ffn_dim=64, freq_dim=32,
        in_channels=36, out_channels=16, text_dim=16, image_dim=24, added_kv_proj_dim=48, rope_max_seq_len=32,
    )  # fmt: skip
    network.requires_grad_(not adapter)
    if dtype != torch.float32:
        network.to(dtype)
    torch.manual_seed(adapter_seed)
    if adapter:
        inject_adapter_in_model(LoraConfig(r=3, lora_alpha=6, target_modules=["attn2.to_q", "attn1.to_v"]), network)
        for name, weight in network.named_parameters():
            weight.requires_grad_("lora_" in name)
            if weight.requires_grad:
                weight.data = torch.randn(weight.shape) * 0.1
    return network


def clip(step: int, number: int, *, levels: Any = None, frames: int = 2, height: int = 4) -> Any:
    """Latents, noise, noise level and condition of one clip of a step, the same on every process."""
    generator = torch.Generator().manual_seed(1000 * step + number)
    latents, noise = torch.randn(2, 1, 16, frames, height, 6, generator=generator)
    sigma = torch.rand(1, generator=generator) if levels is None else torch.tensor([levels[step][number]])
    condition = Condition(
        first=torch.randn(1, 20, frames, height, 6, generator=generator),
        image=torch.randn(1, 5, 24, generator=generator),
        text=torch.randn(1, 3 + number, 16, generator=generator),
        text_length=(3 + number,),
    )
    return latents, noise, sigma, condition


def adamw(network: nn.Module) -> torch.optim.Optimizer:
    """Two parameter groups with rates of their own."""
    weights = [(name, w) for name, w in network.named_parameters() if w.requires_grad]
    groups = [
        {"name": name, "params": [w for full, w in weights if ("lora_B" in full) == (name == "fast")]}
        for name in ("slow", "fast")
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=0.1)


def sgd(network: nn.Module) -> torch.optim.Optimizer:
    """One whose update is the gradient."""
    return torch.optim.SGD([{"name": "slow", "params": [w for w in network.parameters() if w.requires_grad]}])


def muon(network: nn.Module) -> torch.optim.Optimizer:
    """One that looks at whole matrices."""
    return torch.optim.Muon([w for w in network.parameters() if w.requires_grad])


def uneven(state: State) -> State:
    """The state, one weight of which was updated once more often than the others."""
    name = next(iter(state.weights))
    kept = state.optimiser[name]
    return State(state.weights, {**state.optimiser, name: {**kept, "step": kept["step"] + 1}})


def one_step(
    engine: Engine, network: nn.Module, step: int, rates: Any, clip_norm: float, **more: Any
) -> tuple[float, float]:
    """One update; return the step's loss and the gradient's norm."""
    share = CLIPS // engine.ranks.data_world
    mine = range(engine.ranks.data_rank * share, (engine.ranks.data_rank + 1) * share)
    total = torch.zeros(1, dtype=torch.float64)
    for number in mine:
        latents, noise, sigma, condition = clip(step, number, **more)
        at = sigma.view(-1, 1, 1, 1, 1)
        predicted = velocity(network, FACTS, (1 - at) * latents + at * noise, sigma, condition)
        loss = (predicted - (noise - latents)).square().mean() / CLIPS
        engine.backward(loss, last=number == mine[-1])
        total += loss.detach()
    return engine.sum(total).item(), engine.step(clip_norm, rates)


def steps(engine: Engine, network: nn.Module, first: int, last: int) -> list[tuple[float, float]]:
    """Updates with a falling rate, and a bound that some gradients exceed."""
    return [
        one_step(engine, network, step, {"slow": RATE * 0.9**step, "fast": 2 * RATE * 0.9**step}, 0.04)
        for step in range(first, last)
    ]


def look(network: nn.Module) -> Tensor:
    """A forward pass alone, as in validation."""
    latents, _, sigma, condition = clip(100, 0)
    with torch.no_grad():
        return velocity(network, FACTS, latents, sigma, condition)


def run(engine: Engine, last: int = STEPS, *, others: dict[str, State] | None = None, **kind: Any) -> dict[str, Any]:
    """The gradient, `last` updates, and the last of them once more: from the state before, and from another's."""
    network = engine.prepare(build(**kind), sgd)
    before = engine.state()
    one_step(engine, network, 0, 1e3, 1e9)  # so large a rate that the update's digits are the gradient's
    after = engine.state()
    network = engine.prepare(build(**kind), adamw)
    curve = steps(engine, network, 0, last - AGAIN)
    middle = engine.gather(engine.state())[0]  # on every rank, as from a file
    curve += steps(engine, network, last - AGAIN, last)
    found = {"before": before, "after": after, "curve": curve, "middle": middle, "end": engine.state()}
    states = {"own": middle, **others} if others is not None else {}
    network = engine.prepare(build(**kind, adapter_seed=7), adamw)
    for name, state in states.items():
        look(network)
        engine.load_state(state)
        found[name] = {"curve": steps(engine, network, last - AGAIN, last), "end": engine.state()}
    return found


def short(engine: Engine, network: nn.Module) -> dict[str, Any]:
    """Two updates, and between them a look at what the base says."""
    network = engine.prepare(network, adamw)
    curve = steps(engine, network, 0, 1)
    for layer in lora.layers(network).values():
        layer.enable_adapters(False)
    base = look(network)
    for layer in lora.layers(network).values():
        layer.enable_adapters(True)
    curve += steps(engine, network, 1, 2)
    return {"curve": curve, "base": base, "end": engine.state()}


LEVELS = [[0.95, 0.95, 0.2, 0.2], [0.95, 0.95, 0.95, 0.95], [0.95, 0.2, 0.2, 0.2]]
"""Rank 0 has clips for one expert and rank 1 for the other; nobody for the low one; both on one rank."""


def experts(engine: Engine) -> dict[str, Any]:
    """Two networks of which a step may leave one out."""
    network = engine.prepare(Experts(build(1), build(2), 0.9), adamw)
    curve, states = [], []
    for step in range(len(LEVELS)):
        curve.append(one_step(engine, network, step, RATE, 0.04, levels=LEVELS))
        states.append(engine.state())
    return {"curve": curve, "states": states}


def line(call: Callable[[], object]) -> str:
    """The message of the error that the call raises."""
    try:
        call()
    except RunError as error:
        return str(error)
    return "nothing was raised"


def join(rank: int, world: int, port: int) -> None:
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )


def four(rank: int, port: int) -> dict[str, Any]:
    join(rank, 4, port)
    engine = start_engine("auto", 2, CPU)
    found: dict[str, Any] = {"four": run(engine, blocks=2)}
    network = engine.prepare(build(), adamw)
    found["uneven tokens"] = line(lambda: one_step(engine, network, 0, RATE, 1.0, frames=1, height=2))
    found["ranks"], found["gathered"] = engine.ranks, engine.gather(f"from {rank}")
    found["uneven group"] = line(lambda: start_engine("auto", 3, CPU))
    found["uneven heads"] = line(lambda: start_engine("ddp", 4, CPU).prepare(build(heads=2), adamw))
    engine.close()
    return found


def two(rank: int, port: int, other: State) -> dict[str, Any]:
    join(rank, 2, port)
    found: dict[str, Any] = {}
    for name in ("ddp", "fsdp2", "zero2", "zero3"):
        if name.startswith("zero") and importlib.util.find_spec("deepspeed") is None:
            continue
        engine = start_engine(name, 1, CPU)
        found[name] = run(engine, others={"other": other}, blocks=2)
        other = found[name]["middle"]
        found |= {f"{name} {what}": result for what, result in besides(engine, other).items()}
        engine = start_engine(name, 2, CPU)
        network = build(adapter_seed=1 + rank)  # the main process's holds
        network.enable_gradient_checkpointing()
        found[f"{name} x 2"] = short(engine, network)
    found["fsdp2 all"] = run(start_engine("fsdp2", 1, CPU), last=AGAIN + 1, others={}, adapter=False)
    found["ddp experts"] = experts(start_engine("ddp", 1, CPU))
    found["ddp x 2 experts"] = experts(start_engine("ddp", 2, CPU))
    found["single"] = line(lambda: start_engine("single", 1, CPU))
    engine.close()
    return found


def besides(engine: Engine, state: State) -> dict[str, Any]:
    """A base in bf16, and what is refused."""
    half = engine.prepare(build(dtype=torch.bfloat16), adamw)
    found: dict[str, Any] = {"bf16": {"curve": steps(engine, half, 0, 1), "end": engine.state()}}
    bad = build(blocks=2)
    next(w for w in bad.parameters() if not w.requires_grad).data.fill_(float("nan"))
    bad = engine.prepare(bad, adamw)
    found["not finite"] = line(lambda: one_step(engine, bad, 0, RATE, 1.0))
    if engine.lockstep:
        found["two experts"] = line(lambda: engine.prepare(Experts(build(1), build(2), 0.9), adamw))
    if engine.name.startswith("zero"):
        found["muon"] = line(lambda: engine.prepare(build(), muon))
        found["uneven steps"] = line(lambda: engine.load_state(uneven(state)))
    return found


def alone() -> dict[str, Any]:
    for key in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        del os.environ[key]
    engine = start_engine("auto", 1, CPU)
    found: dict[str, Any] = {"short": short(engine, build())}
    half = engine.prepare(build(dtype=torch.bfloat16), adamw)
    found["bf16"] = {"curve": steps(engine, half, 0, 1), "end": engine.state()}
    return found | {
        "adapter": run(engine, blocks=2), "all": run(engine, last=AGAIN + 1, adapter=False), "experts": experts(engine)
    }  # fmt: skip


def work(rank: int, ports: list[int], folder: Path) -> None:
    torch.set_num_threads(1)
    found = four(rank, ports[0])
    if rank < 2:
        found |= two(rank, ports[1], found["four"]["middle"])
    elif rank == 3:
        found |= alone()
    torch.save(found, folder / f"{rank}.pt")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def main(folder: Path) -> int:
    if importlib.util.find_spec("deepspeed"):
        os.environ["DS_ACCELERATOR"] = "cpu"
        import deepspeed  # noqa: F401  # before the fork
    fork, ports = multiprocessing.get_context("fork"), free_ports(2)
    ranks = [fork.Process(target=work, args=(rank, ports, folder)) for rank in range(4)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    return max(abs(process.exitcode or 0) for process in ranks)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
