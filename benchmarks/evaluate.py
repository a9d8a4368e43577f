"""`cinetune evaluate` against the usual tools one after another: `python benchmarks/evaluate.py --tools CLONES`.

In one run, on the same files and the same random weights: FVD, FID, KID, CLIP-SIM, LPIPS and flicker of N generated
clips against N real ones, by the tools, each of which decodes for itself, by cinetune with an empty cache, by
cinetune again, and by cinetune in bf16 with an empty cache. CLONES holds content-debiased-fvd, torch-fidelity and
PerceptualSimilarity; in place of what is not there runs a plain rewriting of what it does, and the table says so.
Imports are not counted on either side, loading weights is.
"""

import argparse
import gc
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Literal, TypeVar

import torch

sys.path.insert(0, str(Path(__file__).parent))  # for the files beside this one, however it is started

import _clips
import _random_weights
import _usual_tools
from _clips import Clips, Decoder
from _usual_tools import Task

from cinetune import plugins
from cinetune.evaluate.evaluation import Evaluation
from cinetune.evaluate.evaluator import measure
from cinetune.evaluate.inputs import assemble
from cinetune.recipe import Evaluate

Found = TypeVar("Found")
OURS = {
    "fvd": ("fvd_stylegan_v", "generated"),
    "fid": ("fid_tf", "generated"),
    "kid": ("kid_tf", "generated"),
    "lpips": ("lpips", "generated"),
    **{
        f"{name}, {arm}": (name, arm)
        for name in ("clip_text", "clip_frames", "flicker")
        for arm in ("generated", "real")
    },
}
"""Number of the tools -> our metric and arm."""
TOLERANCE = {"fvd": 1e-3, "fid": 1e-3, "lpips": 1e-4}
"""Relative differences that are allowed; others 1e-4. KID is another estimator, see KID_DIFFERS."""
KID_DIFFERS = "not the same: ours leaves out pairs of frames of one clip, which are not independent"
LEAST = 1e-6
"""Differences below this are none, whatever the number: features are float32."""
TOLD = ("decoding", "statistics", "hashing")
"""Keys of `Evaluation.seconds` that are no network's, nor a look's without one."""


@dataclass(frozen=True)
class Took:
    """Seconds."""

    wall: float
    cpu: float
    """Of all threads; where other work keeps the machine busy, the fairer of the two."""

    def __add__(self, other: "Took") -> "Took":
        """Return the time of both, one after another."""
        return Took(self.wall + other.wall, self.cpu + other.cpu)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; return 1 where numbers differ that should not."""
    asked = _parser().parse_args(arguments)
    torch.set_num_threads(asked.threads)
    every = _usual_tools.tasks(asked.tools)
    tasks = [every[name] for name in asked.only.split(",")]
    print("\n".join(_machine(asked)), flush=True)
    agreed = True
    with tempfile.TemporaryDirectory(prefix="cinetune-benchmark-") as temporary:
        folder = asked.folder or Path(temporary)
        weights = _random_weights.write(folder / "weights", [t.backbone for t in tasks if t.backbone], asked.seed)
        _import(tasks)
        for size in asked.sizes.split(","):
            width, height = map(int, size.split("x"))
            clips = _clips.make(
                folder / size, footage=asked.footage, count=asked.clips, frames=asked.frames, height=height,
                width=width, seed=asked.seed,
            )  # fmt: skip
            kind = "cut from films" if asked.footage else "rendered"
            print(f"\n## {asked.clips} + {asked.clips} clips of {asked.frames} frames, {size}, {kind}\n", flush=True)
            agreed &= _compare(tasks, clips, weights, folder, asked.seed)
    return 0 if agreed else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", type=Path, help="folder of clones, and of what else they import in CLONES/site")
    parser.add_argument("--footage", type=Path, help="folder of films to cut clips from; default: rendered clips")
    parser.add_argument("--clips", type=int, default=64, help="in either set")
    parser.add_argument("--frames", type=int, default=17, help="of a clip")
    parser.add_argument("--sizes", default="256x256,1280x720", help="WIDTHxHEIGHT, separated by commas")
    parser.add_argument("--only", default="fvd,fid,clip,lpips,flicker", help="tasks, separated by commas")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of both sides")
    parser.add_argument("--seed", type=int, default=0, help="of clips, weights and resampling")
    parser.add_argument("--folder", type=Path, help="where clips, weights and results stay; default: nowhere")
    return parser


def _machine(asked: argparse.Namespace) -> Iterator[str]:
    packages = ("torch", "numpy", "scipy", "transformers", "av")
    yield "# cinetune evaluate against the usual tools\n"
    yield f"- {_processor()}, {os.cpu_count()} cores, {asked.threads} threads on both sides; {_load()}"
    yield f"- Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in packages)
    yield f"- seed {asked.seed}: the same random weights on both sides"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _load() -> str:
    return f"load average {os.getloadavg()[0]:.1f}"


def _import(tasks: Sequence[Task]) -> None:
    """Import what either side imports on first use, so that the first to run does not pay for both."""
    for task in tasks:
        for name in task.metrics:
            plugins.load("metrics", name)
        if task.backbone:
            import_module(f"cinetune.metrics.backbones.{task.backbone}")


def _compare(tasks: Sequence[Task], clips: Clips, weights: Mapping[str, Path], folder: Path, seed: int) -> bool:
    print("| task | by | s | s of CPU | s of decoding | times faster | in s of CPU |\n|---|---|---|---|---|---|---|")
    total, loops, decoding = Took(0, 0), Took(0, 0), 0.0
    numbers: dict[str, float] = {}
    for task in tasks:
        decode = Decoder()
        path = weights[task.backbone] if task.backbone else Path()
        took, found = _timed(partial(task.run, clips, path, decode))
        _print_row(task.name, task.tool, took, decode.seconds)
        numbers |= found
        total, decoding = total + took, decoding + decode.seconds
        loops += took if task.both_sets else Took(0, 0)
    _print_row("everything", "these, one after another", total, decoding)
    with tempfile.TemporaryDirectory(dir=folder) as empty:
        run = partial(_ours, tasks, clips, weights, Path(empty), seed)
        cold, done = _timed(run)
        _print_row("everything, with intervals", "cinetune, cold", cold, done.seconds["decoding"], total)
        warm, again = _timed(run)
        _print_row("everything, with intervals", "cinetune, warm", warm, again.seconds.get("decoding", 0.0), total)
    with tempfile.TemporaryDirectory(dir=folder) as empty:
        rounded, low = _timed(partial(_ours, tasks, clips, weights, Path(empty), seed, "bf16"))
        _print_row("everything, with intervals", "cinetune, cold, in bf16", rounded, low.seconds["decoding"], total)
    alone = (total.cpu - loops.cpu / 2) / cold.cpu
    print(
        f"\nCold, in seconds of CPU, had the CLIP and flicker loops seen the generated clips alone: {alone:.2f} times."
    )
    print(f"{_load()} after the run\n".capitalize())
    _print_shares(done, cold.wall)
    return _agree(done, low, numbers)


def _print_row(task: str, by: str, took: Took, decoding: float, other: Took | None = None) -> None:
    faster = f"{other.wall / took.wall:.2f} | {other.cpu / took.cpu:.2f}" if other else "|"
    print(f"| {task} | {by} | {took.wall:.2f} | {took.cpu:.2f} | {decoding:.2f} | {faster} |", flush=True)


def _timed(work: Callable[[], Found]) -> tuple[Took, Found]:
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return Took(time.perf_counter() - wall, time.process_time() - cpu), found


def _ours(
    tasks: Sequence[Task],
    clips: Clips,
    weights: Mapping[str, Path],
    folder: Path,
    seed: int,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Evaluation:
    metrics = tuple(name for task in tasks for name in task.metrics)
    prompts = {path.stem: caption for path, caption in zip(clips.generated, clips.captions, strict=True)}
    videos = assemble({"generated": clips.generated}, clips.real, prompts=prompts, static=False)
    section = Evaluate(metrics=metrics, weights="published", precision=precision)
    return measure(videos, section, seed=seed, out=folder, published=weights)


def _print_shares(done: Evaluation, wall: float) -> None:
    """Print seconds of work; those of several workers add up to more than the wall time."""
    networks = {what: seconds for what, seconds in done.seconds.items() if what not in TOLD}
    rows = {
        "decode": done.seconds["decoding"],
        "backbones": sum(networks.values()),
        **{f"- {name}": seconds for name, seconds in networks.items()},
        "statistics": done.seconds["statistics"],
        "hashing": done.seconds["hashing"],
    }
    whole = sum(done.seconds.values())
    if torch.get_num_threads() == 1:
        rows["loading weights, writing results"] = wall - whole
        whole = wall
    print("| where the time goes, cold | s | share |\n|---|---|---|")
    for what, seconds in rows.items():
        print(f"| {what} | {seconds:.2f} | {seconds / whole:.0%} |")


def _agree(done: Evaluation, low: Evaluation, theirs: Mapping[str, float]) -> bool:
    """Print the numbers beside the tools'; those in bf16 beside our own in fp32, and they need not agree."""
    ours, rounded = ({(r.metric, r.arm): r.estimate for r in made.results} for made in (done, low))
    print("\n| number | cinetune | tool | relative difference | | in bf16 | from fp32 |\n|---|---|---|---|---|---|---|")
    agreed = True
    for name, value in theirs.items():
        own = ours[OURS[name]]
        assert own is not None, name
        apart = abs(own - value)
        allowed = TOLERANCE.get(name, 1e-4)
        if name == "kid":
            verdict = KID_DIFFERS
        elif apart <= max(allowed * abs(value), LEAST):
            verdict = f"agrees to {allowed:g}"
        else:
            verdict, agreed = f"DIFFERS by more than {allowed:g}", False
        coarse = rounded[OURS[name]]
        assert coarse is not None, name
        print(
            f"| {name} | {own:.6g} | {value:.6g} | {apart / max(abs(value), LEAST):.1e} | {verdict} | {coarse:.6g} | "
            f"{abs(coarse - own) / max(abs(own), LEAST):.1e} |"
        )
    return agreed


if __name__ == "__main__":
    sys.exit(main())
