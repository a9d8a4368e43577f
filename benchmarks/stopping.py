"""Does training stop when it should? `python benchmarks/stopping.py --out FOLDER` (about 10 minutes a seed on a core).

For each seed: the demo's film, the recipe nano with more steps than it needs, and the whole curve of validations with
patience without end. Then the recipe's own rule is carried out on the values of that curve: where it would have
stopped, which step it would have kept, how far that is from the best of the whole curve, and the paired interval of
the kept step against the base. Stopping changes nothing before it, so one training answers both.

--shuffled trains on what cannot be learnt: each training clip is given the first frame of another one, the held-out
clips keep theirs. There the rule itself stops the training, and the curve ends where it does.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from cinetune import run as stages
from cinetune.demo import DOMAIN
from cinetune.footage.cache import read_cache, read_label, write_cache
from cinetune.footage.procedural import render_film
from cinetune.recipe import Recipe, Validation, load_recipe
from cinetune.records import Clip, read_records
from cinetune.train.loop import train
from cinetune.train.paired import differences, mean_interval
from cinetune.train.stopping import Plateau

CPU = torch.device("cpu")


def main() -> int:
    """Print one row a seed; return 1 where a point of the issue does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for films and runs; what is there is used again"
    )
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--shots", type=int, default=80, help="of the film")
    parser.add_argument("--steps", type=int, default=480, help="of the whole curve")
    parser.add_argument("--shuffled", action="store_true", help="the first frames of other clips: nothing to learn")
    asked = parser.parse_args()
    print(
        "| seed | clips | validations | stopped | kept | LPIPS kept | best of the curve | apart | kept minus base | |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    right = [_row(int(seed), asked) for seed in asked.seeds.split(",")]
    return 0 if all(right) else 1


def _row(seed: int, asked: argparse.Namespace) -> bool:
    changes = {"seed": str(seed), "footage.held_out": "0.5", "train.steps": str(asked.steps)}
    recipe = load_recipe("nano", changes if asked.shuffled else {**changes, "validation.patience": "1000000"})
    name = f"{'shuffled' if asked.shuffled else 'plain'}-{seed}"
    folder = _prepared(asked.out, name, seed, recipe, asked.shots, shuffled=asked.shuffled)
    summary = folder / "train" / "summary.json"
    if not summary.is_file():
        train(folder, recipe, stages.checked_model(recipe), device=CPU)
    rows = [json.loads(line) for line in (folder / "train" / "validations.jsonl").read_text().splitlines()]
    base = json.loads((folder / "train" / "baselines.json").read_text())["base"]["values"]
    stopped, kept = replay(rows, load_recipe("nano").validation)
    best = min(rows, key=lambda row: row["value"])
    chosen = next(row for row in rows if row["step"] == kept)
    apart = chosen["value"] / best["value"] - 1
    ends, difference = mean_interval(differences(chosen["values"], base), 0.95), chosen["value"] - chosen["base"]
    assert ends is not None
    if asked.shuffled:
        right = stopped is not None and ends.high >= 0
        verdict = "stopped, no gain" if right else "NOT stopped as unlearnable"
    else:
        right = stopped is not None and stopped < asked.steps and apart <= 0.02 and ends.high < 0
        verdict = "holds" if right else "DOES NOT HOLD"
    interval = f"{difference:+.4f} [{ends.low:+.4f}, {ends.high:+.4f}]"
    print(
        f"| {seed} | {len(base)} | {len(rows)} | {stopped or 'no'} | {kept} | {chosen['value']:.4f} | "
        f"{best['value']:.4f} at {best['step']} | {apart:.1%} | {interval} | {verdict} |",
        flush=True,
    )
    return right


def replay(rows: list[dict[str, Any]], settings: Validation) -> tuple[int | None, int]:
    """Return where the rule stops on a curve of validations (None: nowhere), and the step that it keeps."""
    plateau = Plateau()
    for row in rows:
        if plateau.take(row["step"], row["values"], settings, "lower").stop:
            return row["step"], plateau.best_step
    return None, plateau.best_step


def _prepared(out: Path, name: str, seed: int, recipe: Recipe, shots: int, *, shuffled: bool) -> Path:
    film, folder = out / f"{DOMAIN}-{seed}.mp4", out / name
    if not film.is_file():
        render_film(film, DOMAIN, shots=shots, seed=seed)
    if (folder / "footage" / "clips.jsonl").is_file():
        return folder
    stages.start([film], folder, recipe, device=CPU, command=["benchmarks/stopping.py"])
    stages.prepare_stage([film], folder, recipe, stages.checked_model(recipe), CPU)
    if shuffled:
        _shuffle_first_frames(folder / "footage", seed)
    return folder


def _shuffle_first_frames(footage: Path, seed: int) -> None:
    clips = read_records(footage / "clips.jsonl", Clip)
    files = [footage / clip.cache for clip in clips if clip.split == "train"]
    tensors = [read_cache(file) for file in files]
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(seed)).tolist()
    for file, own, other in zip(files, tensors, [tensors[n] for n in order], strict=True):
        label = {k: v for k, v in (read_label(file) or {}).items() if k not in ("schema", "content")}
        write_cache(file, {**own, "first": other["first"], "image": other["image"]}, label)


if __name__ == "__main__":
    sys.exit(main())
