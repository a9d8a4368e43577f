"""The whole path, stage by stage. Each stage is also a verb of its own and meets the others on disk."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from cinetune import console
from cinetune.devices import describe
from cinetune.evaluate.evaluator import measure
from cinetune.evaluate.inputs import from_samples
from cinetune.footage.prepare import find_films, prepare
from cinetune.generate.stage import generate
from cinetune.models._contract import VideoModel
from cinetune.models._resolve import find_model
from cinetune.recipe import Recipe, with_system
from cinetune.records import Clip, Result, Sample, read_records
from cinetune.report.page import build_report
from cinetune.runs import load_run, locked, open_run
from cinetune.train.loop import check_experts, train


@dataclass(frozen=True)
class Finished:
    """What a whole run made."""

    page: Path
    results: list[Result]


def run(films: list[Path], out: Path, recipe: Recipe, *, device: torch.device, command: list[str]) -> Finished:
    """Do everything from film files to the report; killed at any moment, calling it again goes on.

    Raises:
        CinetuneError: bad input, an unwritable folder, or a folder of another run.
    """
    model = checked_model(recipe)
    start(films, out, recipe, device=device, command=command)
    with locked(out):
        prepare_stage(films, out, recipe, model, device)
        train_stage(out, recipe, model, device)
        generate(out, recipe, model, device=device)
        results = evaluate_stage(out, recipe, device)
        page = report_stage(out)
    console.done(f"run: everything is in {out}; open {page}")
    return Finished(page, results)


def checked_model(recipe: Recipe) -> VideoModel:
    """Return the recipe's model; fails before any work where it cannot make the recipe's size."""
    model: VideoModel = find_model(recipe.model)
    for size in recipe.footage.sizes:
        model.check_size(*size)
    check_experts(recipe, model)
    return model


def start(films: list[Path], out: Path, recipe: Recipe, *, device: torch.device, command: list[str]) -> None:
    """Check the films, then make or open the run folder."""
    open_run(out, recipe, find_films(films), device=describe(device), command=command)


def prepare_stage(films: list[Path], out: Path, recipe: Recipe, model: VideoModel, device: torch.device) -> None:
    """Footage to clips and caches."""
    prepare(films, out, recipe, model, device=device)


def train_stage(out: Path, recipe: Recipe, model: VideoModel, device: torch.device) -> None:
    """Train, unless a former call finished."""
    summary = out / "train" / "summary.json"
    if summary.is_file():
        told = json.loads(summary.read_text(encoding="utf-8"))
        console.note(f"train: finished before, best at step {told['best_step']}")
        return
    train(out, recipe, model, device=device)


def evaluate_stage(out: Path, recipe: Recipe, device: torch.device) -> list[Result]:
    """Measure the generated videos of a run."""
    samples = read_records(out / "generate" / "samples.jsonl", Sample)
    clips = read_records(out / "footage" / "clips.jsonl", Clip)
    videos = from_samples(
        samples,
        out / "generate",
        scenes={clip.id: clip.scene for clip in clips},
        training=[clip for clip in clips if clip.split == "train"],
        training_root=out / "footage",
    )
    with counting("evaluate") as counted:
        done = measure(
            videos,
            recipe.evaluate,
            seed=recipe.seed,
            out=out / "evaluate",
            device=device,
            progress=counted,
            strict=True,
        )
    console.note(f"evaluate: {done.told()}")
    console.done(f"evaluate: {len(recipe.evaluate.metrics)} metrics of {len(samples)} videos in {out / 'evaluate'}")
    return done.results


def report_stage(out: Path) -> Path:
    """Write the page."""
    with counting("report") as counted:
        return build_report(out, progress=lambda done, total, name: counted(done, total))


@contextmanager
def counting(label: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (done, total) that shows the share done."""
    shown = 0
    with console.progress(label, 100) as advance:

        def counted(done: int, total: int) -> None:
            nonlocal shown
            share = 100 * done // max(total, 1)
            advance(share - shown)
            shown = share

        yield counted


def reopen(run_folder: Path, changes: Mapping[str, str] | None = None) -> tuple[Recipe, VideoModel]:
    """Return recipe and model of a run folder, with changes of `system` alone.

    Raises:
        RunError: not a run folder.
        RecipeError: a change of what the run is.
    """
    recipe = with_system(load_run(run_folder), changes or {})
    return recipe, checked_model(recipe)
