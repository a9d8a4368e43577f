"""Wan2.1 I2V 14B's training step, lever by lever, on this GPU: `python benchmarks/gpu_train.py`, in nine minutes.

Random weights and inputs of the true shape. For each adapter and size the levers of docs/performance.md are switched on
one after the other, each on top of those before, with the loss on the same inputs before and after: baseline (bf16,
torch's own choice of attention, every block computed again), attention, compile, selective checkpointing, fp8 storage,
fp8 matmul. One process for each adapter and size; everything goes to one JSON file, after each point anew, and in the
end to a table in Markdown. Nothing is downloaded. Elsewhere `--model nano --shapes 17x64x96 --device cpu` is the same
in a minute. The step of another trainer at the same size, by its own log, stands beside: --tool NAME=SECONDS@SHAPE.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from _points import carry_out, write

LEVERS = ("baseline", "attention", "compile", "selective checkpointing", "fp8 storage", "fp8 matmul")
GIB = 2**30


def main() -> int:
    """Measure every point that the time allows; 1 where one was not measured."""
    asked = _arguments()
    if asked.point:
        return _point(json.loads(asked.point), asked.out, asked.budget)
    points = [
        {"model": asked.model, "shape": shape, "targets": targets, "rank": int(rank), "repeats": asked.repeats,
         "device": asked.device, "levers": asked.levers.split(",")}
        for targets, _, rank in (adapter.rpartition(":") for adapter in asked.adapters.split(","))
        for shape in asked.shapes.split(",")
    ]  # fmt: skip
    done = carry_out(
        __file__,
        points,
        lambda point: f"{point['shape']}, {_named(point)}",
        asked.out,
        budget=asked.budget,
        fewer="--shapes or --adapters",
    )
    print(f"\n{table(done, asked.tool)}\n\nall of it: {asked.out}", flush=True)
    return int(any(len(point["rows"]) < len(point["levers"]) for point in done))


def table(points: list[dict[str, Any]], tools: list[str]) -> str:
    """Return the ladder in Markdown. What was not measured says why."""
    lines = [f"On {name}." for name in sorted({point["machine"] for point in points if "machine" in point})]
    lines += [
        "",
        "| size, adapter | lever | s/step | MFU | HFU | peak GiB | loss difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for point in points:
        at = f"{point['shape']}, {_named(point)}"
        for row in point["rows"]:
            if "error" in row:
                lines.append(f"| {at} | {row['lever']} | not measured: {row['error']} | | | | |")
                continue
            cells = [f"{row['seconds']:.3g}", _share(row["mfu"]), _share(row["hfu"]), f"{row['peak'] / GIB:.4g}"]
            lines.append(f"| {at} | {row['lever']}{row['detail']} | {' | '.join(cells)} | {row['apart']:.1e} |")
        if "error" in point:
            lines.append(f"| {at} | the rest | not measured: {point['error']} | | | | |")
    for tool in tools:
        name, _, rest = tool.partition("=")
        seconds, _, shape = rest.partition("@")
        lines.append(f"| {shape} | {name}, by its own log | {seconds} | - | - | - | - |")
    return "\n".join(lines).strip()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="wan2.1-i2v-14b-480p")
    parser.add_argument("--shapes", default="33x480x832,81x480x832", help="frames x height x width, ...")
    parser.add_argument("--adapters", default="cross-attention:8,all-linear:32", help="targets:rank, ...")
    parser.add_argument("--levers", default=",".join(LEVERS), help="in this order, baseline first")
    parser.add_argument("--repeats", type=int, default=3, help="timed steps of each, after two that are not timed")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--budget", type=float, default=540, help="seconds for all points together")
    parser.add_argument("--tool", action="append", default=[], help="NAME=SECONDS@SHAPE of another tool's own log")
    parser.add_argument("--out", type=Path, default=Path("gpu_train.json"))
    parser.add_argument("--point", help=argparse.SUPPRESS)  # one adapter and size, in a process of its own
    return parser.parse_args()


def _point(point: dict[str, Any], out: Path, budget: float) -> int:
    """Measure the levers of one adapter and size, one network for all of them."""
    from cinetune.devices import describe, pick_device

    began, device = time.monotonic(), pick_device(point["device"])
    ladder = _Ladder(point, device)
    rows: list[dict[str, Any]] = []
    for lever in point["levers"]:
        if time.monotonic() - began > budget:
            rows.append({"lever": lever, "error": "the time of this point was used up; give a larger --budget"})
            continue
        try:
            rows.append(ladder.climb(lever))
        except Exception as error:  # of any library; the levers after it stand on those before
            rows.append({"lever": lever, "error": str(error).splitlines()[0] if str(error) else type(error).__name__})
        print(rows[-1], flush=True)
        write(out, {"machine": describe(device), "rows": rows})
    return 0


class _Ladder:
    """One network, on which levers are switched on."""

    def __init__(self, point: dict[str, Any], device: Any) -> None:
        import torch

        from cinetune.adapters import lora
        from cinetune.adapters.targets import SETS
        from cinetune.models._random_model import draw_inputs
        from cinetune.models._resolve import RANDOM, find_model
        from cinetune.ops.flops import Shape, adapted, read_sizes
        from cinetune.train.recompute import checkpoint_blocks
        from cinetune.train.work import describe_work

        name = point["model"] if point["model"] == "nano" else f"{RANDOM}{point['model']}"
        self.model: Any = find_model(name)
        self.device, self.repeats = device, point["repeats"]
        frames, height, width = map(int, point["shape"].split("x"))
        self.network: Any = self.model.load_transformer(device, torch.bfloat16)
        sizes = read_sizes(self.network.config, name)
        targets = [layer.name for layer in adapted(sizes, SETS.get(point["targets"], point["targets"]))]
        lora.inject(self.network, targets, rank=point["rank"], alpha=point["rank"], seed=0)
        generator = torch.Generator().manual_seed(0)
        for weight_name, weight in self.network.named_parameters():
            if "lora_B" in weight_name:  # as after some training: a B of zeros would hide the adapter
                weight.data.copy_(0.01 * torch.randn(weight.shape, generator=generator))
        checkpoint_blocks(self.network)
        self.network.train()
        self.work = describe_work(self.network, self.model.facts)
        self.shape = Shape(frames, height, width, spatial=self.model.facts.spatial)
        self.latents, self.condition = draw_inputs(sizes, self.shape, generator=generator, device=device)
        self.target = torch.randn(self.latents.shape, generator=generator).to(device)
        self.weights = lora.parameters(self.network)
        self.optimiser = torch.optim.AdamW(self.weights, lr=0.0)  # the loss shall change with the levers alone
        self.before: float | None = None

    def climb(self, lever: str) -> dict[str, Any]:
        """Switch a lever on, then measure."""
        import torch

        from cinetune.devices import resident_memory, wait
        from cinetune.ops.gpus import detect

        detail = getattr(self, f"_{lever.replace(' ', '_')}")()
        cuda = self.device.type == "cuda"
        losses = [self._step() for _ in range(2)]
        wait(self.device)
        if cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        runs = []
        for _ in range(self.repeats):
            began = time.perf_counter()
            losses.append(self._step())
            wait(self.device)
            runs.append(time.perf_counter() - began)
        seconds, loss = statistics.median(runs), losses[-1]
        self.before = loss if self.before is None else self.before
        cost, gpu = self.work.flops(self.shape), detect(self.device.index or 0) if cuda else None
        peak = gpu.tflops * 1e12 if gpu and gpu.tflops else None
        return {
            "lever": lever, "detail": detail, "seconds": seconds, "runs": runs, "loss": loss,
            "apart": abs(loss - self.before) / self.before, "kept": self.work.kept,
            "mfu": cost.model / seconds / peak if peak else None,
            "hfu": cost.hardware / seconds / peak if peak else None,
            "peak": torch.cuda.max_memory_allocated(self.device) if cuda else resident_memory(),
        }  # fmt: skip

    def _step(self) -> float:
        import torch

        sigma = torch.full((1,), 0.7, device=self.device)
        loss = (self.model.velocity(self.network, self.latents, sigma, self.condition) - self.target).square().mean()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return float(loss.detach())

    def _baseline(self) -> str:
        return ""

    def _attention(self) -> str:
        import torch

        from cinetune.speed.attention import Asked, choose_attention

        sizes = self.work.sizes
        asked = Asked(1, self.shape.tokens(sizes.patch_size), sizes.num_attention_heads, sizes.attention_head_dim,
                      torch.bfloat16, self.device)  # fmt: skip
        return f": {choose_attention(self.network, 'auto', asked, verb='bench', option='attention')}"

    def _compile(self) -> str:
        from cinetune.speed.compiling import compile_blocks

        compile_blocks(self.network, self.device)
        return ""

    def _selective_checkpointing(self) -> str:
        import torch

        from cinetune.train.recompute import affordable, checkpoint_blocks, free_on_gpu

        cuda = self.device.type == "cuda"
        if cuda:
            torch.cuda.empty_cache()
        count = affordable(self.work, self.shape, half=True, free=free_on_gpu(self.device)) if cuda else 2
        self._keep(count, checkpoint_blocks)
        return f": {count} of {len(self.network.blocks)} blocks kept"

    def _keep(self, count: int, checkpoint_blocks: Any) -> None:
        from dataclasses import replace

        blocks = list(self.network.blocks)
        checkpoint_blocks(self.network, frozenset(blocks[len(blocks) - count :]))
        self.work = replace(self.work, kept=count)

    def _fp8_storage(self, *, matmul: bool = False) -> str:
        from cinetune.speed.quantised import quantise

        quantise(self.network, "fp8", self.device, fp8_matmul=matmul)
        return ""

    def _fp8_matmul(self) -> str:
        from cinetune.speed.quantised import FrozenLinear

        changed = [module for module in self.network.modules() if isinstance(module, FrozenLinear)]
        for module in changed:
            module.fp8_matmul = True
        return "" if changed else self._fp8_storage(matmul=True)


def _named(point: dict[str, Any]) -> str:
    return f"{point['targets']}, rank {point['rank']}"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


if __name__ == "__main__":
    sys.exit(main())
