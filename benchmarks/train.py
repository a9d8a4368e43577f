"""What cinetune's loop costs beside a bare one: `python benchmarks/train.py`, on a CPU, offline, some minutes.

Both train nano's adapter on the same cached clips, in one process, taking turns: a few steps of `cinetune train` as a
user has it (log, schedule, dropouts, prefetch), then as many of a 60-line loop of diffusers and peft on one batch that
lies in memory. cinetune's seconds are those of its own log.jsonl. The bare loop runs twice: with captions padded to 512
tokens, as diffusers' users have it, and with this package's attention over short captions, so that what is left is the
loop alone. The first steps of every turn are not counted.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent))  # for the file beside this one, however it is started

from _bare_loop import BareLoop

from cinetune import console
from cinetune.devices import describe
from cinetune.files import sha256
from cinetune.footage.cache import encode_clip, encode_empty, write_cache
from cinetune.footage.procedural import render_clip
from cinetune.footage.video_io import write_video
from cinetune.models.nano import MODEL
from cinetune.recipe import Recipe, load_recipe
from cinetune.records import Clip, write_records
from cinetune.speed.compiling import what_is_missing
from cinetune.train.loop import train

CPU = torch.device("cpu")
WARM = 2
"""First steps of a turn that are not counted: the allocator and the caches fill."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0."""
    asked = _arguments(arguments)
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as folder:
        footage = _prepare(Path(folder), asked)
        arms = {"cinetune": _Ours(footage, asked, compiled=False)}
        if asked.compile:
            missing = what_is_missing(CPU)
            if missing:
                print(f"compiled: not measured, {missing}")
            else:
                arms["cinetune, compiled"] = _Ours(footage, asked, compiled=True)
        files = sorted((footage / "cache").glob("clip-*.safetensors"))[: asked.batch]
        bare = {
            name: BareLoop(MODEL, files, asked.rank, 1e-3, short_text=short)
            for name, short in (("bare, text padded to 512", False), ("bare, short text", True))
        }
        times: dict[str, list[float]] = {name: [] for name in (*arms, *bare)}
        for turn in range(asked.turns):
            for name, ours in arms.items():
                times[name].append(ours.turn(turn))
            for name, loop in bare.items():
                steps = [loop.step(asked.accumulation) for _ in range(asked.steps + WARM)]
                times[name].append(statistics.median(steps[WARM:]))
            console.note(f"turn {turn + 1} of {asked.turns} done")
        print(table(times, asked, {name: ours.waits for name, ours in arms.items()}))
    return 0


def table(times: dict[str, list[float]], asked: argparse.Namespace, waits: dict[str, list[float]]) -> str:
    """Return the table in Markdown: seconds a step, the ratio to each bare loop with its interval, data wait."""
    bare = [name for name in times if name.startswith("bare")]
    lines = [
        f"{describe(CPU)}; torch {torch.__version__}; nano, {asked.frames} frames of 64x96, rank {asked.rank}, "
        f"{asked.batch} x {asked.accumulation} clips a step; {asked.turns} turns of {asked.steps} steps each; "
        "s/step: median of a turn, mean over turns; ratios: geometric mean and 95 % t interval",
        "",
        f"| | s/step | {' | '.join(f'against {name}' for name in bare)} | waiting for data |",
        f"|---|---|{'---|' * len(bare)}---|",
    ]
    for name, seconds in times.items():
        cells = ["1" if name == other else _ratio(seconds, times[other]) for other in bare]
        wait = f"{statistics.fmean(waits[name]):.2%}" if name in waits else "-"
        lines.append(f"| {name} | {statistics.fmean(seconds):.4g} | {' | '.join(cells)} | {wait} |")
    return "\n".join(lines)


def _ratio(ours: list[float], theirs: list[float]) -> str:
    logs = [math.log(a / b) for a, b in zip(ours, theirs, strict=True)]
    mean = statistics.fmean(logs)
    if len(logs) < 2:
        return f"{math.exp(mean):.3f}, n = 1"
    half = float(stats.t.ppf(0.975, len(logs) - 1)) * statistics.stdev(logs) / math.sqrt(len(logs))
    return f"{math.exp(mean):.3f} [{math.exp(mean - half):.3f}, {math.exp(mean + half):.3f}], n = {len(logs)}"


class _Ours:
    """`cinetune train` on the prepared footage, a fresh run each turn."""

    def __init__(self, footage: Path, asked: argparse.Namespace, *, compiled: bool) -> None:
        self.footage, self.asked, self.compiled = footage, asked, compiled
        self.waits: list[float] = []

    def turn(self, number: int) -> float:
        """Return the median seconds of the counted steps."""
        run = self.footage.parent / f"run-{number}{'-compiled' * self.compiled}"
        run.mkdir()
        (run / "footage").symlink_to(self.footage, target_is_directory=True)
        train(run, _recipe(self.asked, self.compiled), MODEL, device=CPU)
        lines = (run / "train" / "log.jsonl").read_text(encoding="utf-8").splitlines()
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines][WARM:]
        self.waits.append(statistics.fmean(row["data_wait"] for row in rows))
        return statistics.median(row["step_seconds"] for row in rows)


def _recipe(asked: argparse.Namespace, compiled: bool) -> Recipe:
    steps = asked.steps + WARM
    values = {
        "train.steps": steps, "train.batch": asked.batch, "train.accumulation": asked.accumulation,
        "train.save_every": steps, "lora.rank": asked.rank, "validation.clips": 2, "validation.steps": 1,
        "validation.every": steps, "footage.frames": asked.frames, "system.compile": str(compiled).lower(),
        "system.prefetch": asked.prefetch, "system.trackers": "[]", "system.dashboard": "false",
    }  # fmt: skip
    return load_recipe("nano", {key: str(value) for key, value in values.items()})


def _prepare(folder: Path, asked: argparse.Namespace) -> Path:
    """Write footage as `cinetune prepare` leaves it, of rendered clips of one size."""
    encoders, clips, footage = MODEL.load_encoders(CPU), [], folder / "footage"
    for number in range(asked.clips + 2):
        shown = render_clip("historical", seed=number, frames=asked.frames, height=64, width=96, fps=16.0)
        name, split = f"clip-{number:02d}", "train" if number < asked.clips else "validation"
        clip = Clip(
            id=name, shot=f"shot-{number}", scene=f"scene-{number}", film="film.mp4", start=0.0, fps=16.0,
            frames=asked.frames, height=64, width=96, caption=shown.caption, caption_source="sidecar", split=split,
            motion=1.0, video=f"clips/{name}.mkv", cache=f"cache/{name}.safetensors",
        )  # fmt: skip
        write_video(footage / clip.video, iter(shown.frames), 16.0, lossless=True)
        label = {"clip": name, "caption": clip.caption, "video_sha256": sha256(footage / clip.video)}
        write_cache(footage / clip.cache, encode_clip(encoders, shown.frames, shown.caption), label)
        clips.append(clip)
    write_cache(footage / "cache" / "empty.safetensors", encode_empty(encoders), {})
    write_records(footage / "clips.jsonl", clips)
    return footage


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--steps", type=int, default=8, help="counted steps of a turn")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--prefetch", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="also with system.compile; minutes of compilation")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
