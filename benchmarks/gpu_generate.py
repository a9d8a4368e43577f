"""One forward pass of Wan2.1 I2V 14B on this GPU, lever by lever: `python benchmarks/gpu_generate.py`, in nine minutes.

Random weights and inputs of the true shape; nothing is downloaded. For each size one process builds the network once
and times a forward pass: plain (bf16, torch's own choice of attention), with every attention backend that works here,
then with the fastest one also compiled, with fp8 weights, with fp8 products; each with its distance from plain on the
same inputs. A second kind of process decodes with the VAE in fp32 and bf16, and a third runs the rank table of
`cinetune bench generate --block`. Everything goes to one JSON file, after each point anew, and in the end to tables in
Markdown, beside what others have published and what the doctor expects. Elsewhere
`--model nano --shapes 17x64x96 --device cpu` is the same in two minutes.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _points import carry_out, write

LEVERS = ("compile", "fp8 weights", "fp8 matmul")
BACKENDS = ("_native_cudnn", "_native_flash", "_native_efficient", "flash", "_flash_3", "sage")
GIB = 2**30
PUBLISHED = {
    "81x480x832": (
        ("diffusers, eager", "H100", 4.602, "T2V, huggingface/diffusers#11605"),
        ("diffusers, compiled", "H100", 3.766, "T2V, huggingface/diffusers#11605"),
        ("diffusers", "H100", 9.77 / 2, "half a step with guidance, ModelTC/LightX2V README.md"),
        ("FastVideo", "H100", 7.35 / 2, "the same"),
        ("SGLang", "H100", 6.13 / 2, "the same"),
        ("LightX2V", "H100", 5.18 / 2, "the same"),
    ),
    "81x720x1280": (
        ("Wan2.1 official", "H200", 974 / 80, "a whole video over its 80 passes, LightX2V benchmark_source.md"),
        ("LightX2V, bf16", "H200", 751 / 80, "the same"),
        ("LightX2V, fp8", "H200", 671 / 80, "the same"),
        ("FastVideo, FlashAttention 2", "H200", 1746.5 / 100, "T2V, denoising of 50 steps, its blog"),
    ),
}
"""Seconds of one forward pass of the 14B network: by whom, on what, and where it says so."""
EFFICIENCY = 0.85
"""Share of the memory's bandwidth that elementwise work reaches, for the doctor's side of the rank table."""


def main() -> int:
    """Measure every point that the time allows; 1 where one was not, but for attention backends that are not here."""
    asked = _arguments()
    if asked.point:
        return _point(json.loads(asked.point), asked.out, asked.budget)
    common = {"model": asked.model, "device": asked.device, "repeats": asked.repeats}
    shapes = asked.shapes.split(",")
    points: list[dict[str, Any]] = [common | {"kind": "forward", "shape": shape} for shape in shapes]
    points += [common | {"kind": "decode", "shape": shape} for shape in shapes]
    points.append(common | {"kind": "ranks", "shapes": asked.rank_shapes.split(","), "ranks": asked.ranks,
                            "targets": asked.targets, "rounds": asked.rounds, "arms": asked.arms})  # fmt: skip
    points = [point for point in points if point["kind"] in asked.only.split(",")]
    done = carry_out(__file__, points, _named, asked.out, budget=asked.budget, fewer="--shapes")
    print(f"\n{table(done)}\n\nall of it: {asked.out}", flush=True)
    rows = [row for point in done for row in point["rows"] if not row.get("name", "").startswith("attention ")]
    return int(any("error" in entry for entry in (*done, *rows)))


def table(points: list[dict[str, Any]]) -> str:
    """Return the tables in Markdown. What was not measured says why."""
    lines = [f"On {name}." for name in sorted({point["machine"] for point in points if "machine" in point})]
    lines += [
        "",
        "| size | forward pass | s | TFLOP/s | of peak | peak GiB | distance from plain |",
        "|---|---|---|---|---|---|---|",
    ]
    for point in (p for p in points if p["kind"] == "forward"):
        for row in point["rows"]:
            at = f"| {point['shape']} | {row['name']} |"
            if "error" in row:
                lines.append(f"{at} not measured: {row['error']} | | | | |")
                continue
            cells = [f"{row['seconds']:.3g}", f"{row['tflops']:.3g}", _share(row["share"]), f"{row['peak'] / GIB:.4g}",
                     f"{row['apart']:.1e}"]  # fmt: skip
            lines.append(f"{at} {' | '.join(cells)} |")
        lines += _failed(point, 5)
        if "expected" in point:
            lines.append(f"| {point['shape']} | doctor expects ({point['expected_share']:.0%} of peak) | "
                         f"{point['expected']:.3g} | | | | |")  # fmt: skip
        for who, gpu, seconds, source in PUBLISHED.get(point["shape"], ()) if "14b" in point["model"] else ():
            lines.append(f"| {point['shape']} | {who}, {gpu} ({source}) | {seconds:.3g} | | | | |")
    decoded = [point for point in points if point["kind"] == "decode"]
    if decoded:
        lines += [
            "",
            "| size | VAE decode | s | TFLOP/s | peak GiB | distance from fp32 |",
            "|---|---|---|---|---|---|",
        ]
    for point in decoded:
        for row in point["rows"]:
            if "error" in row:
                lines.append(f"| {point['shape']} | {row['name']} | not measured: {row['error']} | | | |")
                continue
            cells = [f"{row['seconds']:.3g}", f"{row['tflops']:.3g}", f"{row['peak'] / GIB:.4g}", f"{row['apart']:.1e}"]
            lines.append(f"| {point['shape']} | {row['name']} | {' | '.join(cells)} |")
        lines += _failed(point, 4)
    for point in (p for p in points if p["kind"] == "ranks"):
        lines += ["", point.get("text", f"Rank table: not measured: {point.get('error', 'no answer')}")]
        for row in point["rows"]:
            lines.append(f"- {row['shape']}: expected of an adapter beside the weights, uncompiled: {row['expected']}")
    return "\n".join(lines).strip()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="wan2.1-i2v-14b-480p")
    parser.add_argument("--shapes", default="81x480x832,81x720x1280", help="frames x height x width, ...")
    parser.add_argument("--rank-shapes", default="33x480x832,81x480x832,81x720x1280")
    parser.add_argument("--ranks", default="0,4,8,16,32,64,128")
    parser.add_argument("--arms", default="merged,unmerged,compiled,padded")
    parser.add_argument("--targets", default="attention", help="of the rank table's adapters")
    parser.add_argument("--rounds", type=int, default=10, help="of the rank table")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each, after two that are not timed")
    parser.add_argument("--only", default="forward,decode,ranks")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--budget", type=float, default=540, help="seconds for all points together")
    parser.add_argument("--out", type=Path, default=Path("gpu_generate.json"))
    parser.add_argument("--point", help=argparse.SUPPRESS)  # one point, in a process of its own
    return parser.parse_args()


def _point(point: dict[str, Any], out: Path, budget: float) -> int:
    from cinetune.devices import describe, pick_device
    from cinetune.models._resolve import RANDOM, find_model

    began, device = time.monotonic(), pick_device(point["device"])
    name = point["model"] if point["model"] == "nano" else f"{RANDOM}{point['model']}"
    told: dict[str, Any] = {"machine": describe(device), "rows": []}
    if point["kind"] == "ranks":
        told |= _ranks(point, name, find_model(name), device, out)
        write(out, told)
        return 0
    bench: Any = (_Forward if point["kind"] == "forward" else _Decode)(find_model(name), point, device)
    told |= bench.told
    for step in bench.steps:
        if time.monotonic() - began > budget:
            told["rows"].append({"name": step, "error": "the time of this point was used up; give a larger --budget"})
            continue
        try:
            told["rows"].append({"name": step} | bench.climb(step))
        except Exception as error:  # of any library; the others stand by themselves
            line = str(error).splitlines()[0] if str(error) else type(error).__name__
            told["rows"].append({"name": step, "error": line})
        print(told["rows"][-1], flush=True)
        write(out, told)
    return 0


class _Timer:
    """Runs something by the clock: seconds, FLOP/s, peak memory, distance from the first answer."""

    def __init__(self, device: Any, repeats: int, flops: float) -> None:
        self.device, self.repeats, self.flops = device, repeats, flops
        self.first: Any = None

    def __call__(self, run: Callable[[], Any], warm: int = 2) -> dict[str, Any]:
        import torch

        from cinetune.devices import resident_memory, wait
        from cinetune.ops.gpus import detect

        cuda = self.device.type == "cuda"
        for _ in range(warm):
            out = run()
        wait(self.device)
        if cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        runs = []
        for _ in range(self.repeats):
            began = time.perf_counter()
            out = run()
            wait(self.device)
            runs.append(time.perf_counter() - began)
        self.first = out if self.first is None else self.first
        seconds, gpu = statistics.median(runs), detect(self.device.index or 0) if cuda else None
        return {
            "seconds": seconds, "runs": runs, "tflops": self.flops / seconds / 1e12,
            "share": self.flops / seconds / gpu.tflops / 1e12 if gpu and gpu.tflops else None,
            "peak": torch.cuda.max_memory_allocated(self.device) if cuda else resident_memory(),
            "apart": float((out.float() - self.first.float()).norm() / self.first.float().norm()),
        }  # fmt: skip


class _Forward:
    """The network, plain, then with one attention backend after the other, then with levers on top of the fastest."""

    def __init__(self, model: Any, point: dict[str, Any], device: Any) -> None:
        import torch

        from cinetune.doctor.doctor import SHARE_OF_PEAK
        from cinetune.models._random_model import draw_inputs
        from cinetune.ops.flops import Shape, forward_flops, read_sizes
        from cinetune.ops.gpus import detect

        self.model, self.device = model, device
        self.network = model.load_transformer(device, torch.bfloat16)
        self.sizes = read_sizes(self.network.config, point["model"])
        self.shape = Shape(*map(int, point["shape"].split("x")), spatial=model.facts.spatial)
        generator = torch.Generator().manual_seed(0)
        self.latents, self.condition = draw_inputs(self.sizes, self.shape, generator=generator, device=device)
        flops = forward_flops(self.sizes, self.shape)
        self.timer = _Timer(device, point["repeats"], flops)
        gpu = detect(device.index or 0) if device.type == "cuda" else None
        self.told = {}
        if gpu and gpu.tflops:
            self.told = {"expected": flops / (gpu.tflops * 1e12 * SHARE_OF_PEAK), "expected_share": SHARE_OF_PEAK}
        self.steps = ("plain", *(f"attention {name}" for name in BACKENDS), *LEVERS)
        self.fastest: tuple[float, str] = (float("inf"), "native")

    def climb(self, step: str) -> dict[str, Any]:
        """Switch something on, then measure."""
        from cinetune.speed.compiling import compile_blocks
        from cinetune.speed.quantised import FrozenLinear, quantise

        backend = step.removeprefix("attention ")
        if backend != step:
            self._attend(backend)
        elif step == "compile":
            self._attend(self.fastest[1])
            compile_blocks(self.network, self.device)
        elif step == "fp8 weights":
            quantise(self.network, "fp8", self.device)
        elif step == "fp8 matmul":
            for module in self.network.modules():
                if isinstance(module, FrozenLinear):
                    module.fp8_matmul = True
        row = self.timer(self._run)
        if backend == "plain" or (backend != step and "sage" not in backend):  # sage rounds to 8 bits
            self.fastest = min(self.fastest, (row["seconds"], "native" if backend == "plain" else backend))
        return row | ({"attention": self.fastest[1]} if step in LEVERS else {})

    def _attend(self, name: str) -> None:
        import torch

        from cinetune.speed.attention import Asked, choose_attention

        asked = Asked(1, self.shape.tokens(self.sizes.patch_size), self.sizes.num_attention_heads,
                      self.sizes.attention_head_dim, torch.bfloat16, self.device, backward=False)  # fmt: skip
        choose_attention(self.network, name, asked, verb="benchmark", option="attention")

    def _run(self) -> Any:
        import torch

        with torch.no_grad():
            sigma = torch.full((1,), 0.7, device=self.device)
            return self.model.velocity(self.network, self.latents, sigma, self.condition)


class _Decode:
    """The VAE of random weights, in fp32 and in bf16."""

    steps = ("fp32", "bf16")

    def __init__(self, model: Any, point: dict[str, Any], device: Any) -> None:
        import torch

        from cinetune.doctor.vae import count_vae

        frames, height, width = map(int, point["shape"].split("x"))
        self.decoder, self.told = model.load_decoder(device), dict[str, Any]()
        latent = (
            model.facts.channels,
            (frames - 1) // 4 + 1,
            height // model.facts.spatial,
            width // model.facts.spatial,
        )
        self.latents = torch.randn(1, *latent, generator=torch.Generator().manual_seed(0)).to(device)
        cost = count_vae(self.decoder.vae.config, frames, height, width)
        self.timer = _Timer(device, point["repeats"], cost.decode_flops)

    def climb(self, step: str) -> dict[str, Any]:
        """Decode in a precision."""
        import torch

        if step == "bf16":
            self.decoder.vae.to(torch.bfloat16)
        return self.timer(lambda: self.decoder.decode(self.latents), warm=1)


def _ranks(point: dict[str, Any], name: str, model: Any, device: Any, out: Path) -> dict[str, Any]:
    """The table of `cinetune bench generate --block`, and what its overhead is expected to be."""
    from cinetune.bench.generate import bench_generate
    from cinetune.bench.plan import Plan, Size
    from cinetune.bench.tables import markdown

    plan = Plan(
        name, kind="block", ranks=tuple(map(int, point["ranks"].split(","))), arms=tuple(point["arms"].split(",")),
        sizes=tuple(map(Size.parse, point["shapes"])), targets=point["targets"], rounds=point["rounds"],
        precision="bf16" if device.type == "cuda" else "fp32",
    )  # fmt: skip
    tree = bench_generate(plan, model, out.parent / "ranks", device=device)
    rows = [{"shape": shape, "expected": _expected(point, tree, shape, device)} for shape in point["shapes"]]
    return {"rows": rows, "bench": tree, "text": markdown(tree)}


def _expected(point: dict[str, Any], tree: dict[str, Any], shape: str, device: Any) -> str:
    """The overhead by memory traffic alone: seven passes over the tokens for each adapted layer, whatever the rank."""
    from diffusers import WanTransformer3DModel

    from cinetune.adapters.targets import SETS
    from cinetune.models._checking import read_config
    from cinetune.models._random import shape_folder
    from cinetune.models._resolve import find_model
    from cinetune.ops.flops import CLIP_TOKENS, Shape, adapted, read_sizes
    from cinetune.ops.gpus import detect

    gpu = detect(device.index or 0) if device.type == "cuda" else None
    if gpu is None or gpu.bandwidth is None:
        return "nothing: the bandwidth of this machine's memory is not known"
    model = find_model(tree["plan"]["model"])
    config = read_config(WanTransformer3DModel, shape_folder(model.source) / "transformer")
    sizes = read_sizes(config | {"num_layers": 1}, point["model"])
    tokens = {"video": Shape(*map(int, shape.split("x")), spatial=model.facts.spatial).tokens(sizes.patch_size),
              "text": 512, "image": CLIP_TOKENS}  # fmt: skip
    # read x; write the product; read it and scale it; read both and write the sum (peft tuners/lora/layer.py)
    moved = sum(2 * tokens[layer.reads] * (layer.inputs + 6 * layer.outputs)
                for layer in adapted(sizes, SETS.get(point["targets"], point["targets"])))  # fmt: skip
    base = next(cell["seconds"] for cell in tree["cells"] if cell["arm"] == "base" and cell["size"] == shape)
    return f"{moved / (EFFICIENCY * gpu.bandwidth * 1e9) / base:.2%}"


def _failed(point: dict[str, Any], columns: int) -> list[str]:
    if "error" not in point:
        return []
    return [f"| {point['shape']} | the rest | not measured: {point['error']} |{' |' * (columns - 1)}"]


def _named(point: dict[str, Any]) -> str:
    return f"{point['kind']} {point.get('shape', '')}".strip()


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


if __name__ == "__main__":
    sys.exit(main())
