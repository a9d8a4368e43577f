"""Stage 1, top to bottom: train, validate on held-out clips, keep the best, and stop when it no longer gets better.

Every method, engine and number of processes runs this loop. All processes run it; the main one writes the files.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cinetune import console
from cinetune.devices import size
from cinetune.errors import RecipeError, RunError
from cinetune.files import folder_aside, sha256, write_text
from cinetune.models._contract import VideoModel
from cinetune.ops import flow
from cinetune.recipe import Recipe
from cinetune.recipe import Train as Settings
from cinetune.records import Clip, read_records
from cinetune.train import checkpoint, nested, schedules
from cinetune.train.batches import Batch, Batches
from cinetune.train.checkpoint import Checkpoint, Progress
from cinetune.train.dashboard import watched
from cinetune.train.data import load_split
from cinetune.train.ema import Ema
from cinetune.train.engines._contract import Engine
from cinetune.train.engines._start import start_engine
from cinetune.train.meter import Meter, brief
from cinetune.train.optimisers import make_optimiser, rates
from cinetune.train.prefetch import moved, pinned, prefetched
from cinetune.train.readings import Baselines, reading_row, told
from cinetune.train.signals import Asked, noticed
from cinetune.train.speed import first_place, set_up
from cinetune.train.stopping import Stopper
from cinetune.train.trackers import Trackers
from cinetune.train.trainable import load_dtype, make_trainable, named_trainable, save_trained
from cinetune.train.validation import Validator


@dataclass(frozen=True)
class Trained:
    """What a training run made."""

    adapters: tuple[Path, ...]
    """The best adapter by the validation metric: one file, or of a model of two experts one for each trained; with
    method "full" the folders of the networks."""
    best_step: int
    steps: int
    stopped: str
    """"plateau" or "steps"."""
    gain: bool
    """Whether the kept adapter is better than the base on the validation clips, beyond chance."""


def train(run: Path, recipe: Recipe, model: VideoModel, *, device: torch.device) -> Trained:
    """Train on a prepared run, from its last checkpoint where there is one.

    Raises:
        RecordError: the run is not prepared, or a clip changed since it was cached.
        RunError: no clip to train on; the checkpoints are damaged or another run's; the loss is not a number; the disk
            is full; the processes cannot be connected.
        RecipeError: one expert is asked for of a model of one network; the processes cannot share a step's clips.
    """
    check_experts(recipe, model)
    any_model: Any = model
    several = recipe.system.engine == "auto" and size() > 1
    # an expert without a clip has no gradient, which sharding engines cannot have
    name = "ddp" if several and any_model.facts.boundary is not None else recipe.system.engine
    engine = start_engine(name, recipe.system.context_parallel, device)
    with closing(engine):
        return _train(run, recipe, model, engine)


def check_experts(recipe: Recipe, model: VideoModel) -> None:
    """Raise RecipeError where the recipe wants an adapter on one expert and the model has no two."""
    any_model: Any = model
    if recipe.lora.experts != "both" and any_model.facts.boundary is None:
        raise RecipeError(
            f"lora.experts = {recipe.lora.experts!r}: {recipe.model} has one network; leave the field out"
        )


def _train(run: Path, recipe: Recipe, model: VideoModel, engine: Engine) -> Trained:
    folder, settings, ranks = run / "train", recipe.train, engine.ranks
    say: Callable[[str], None] = console.note if ranks.main else lambda text: None
    # 1. what is trained, and on what
    clips = read_records(run / "footage" / "clips.jsonl", Clip)
    data, held_out = (load_split(run / "footage", clips, split) for split in ("train", "validation"))
    if not data.clips:
        raise RunError(f"{run}: no training clips; run `cinetune prepare` with more footage")
    network = model.load_transformer(first_place(recipe, engine.device), load_dtype(recipe))
    parts = make_trainable(network, model, recipe)
    count = sum(weight.numel() for weight in named_trainable(network).values())
    batches = Batches(data, recipe, network, ranks)
    any_model: Any = model
    fast = set_up(
        network, recipe, any_model.facts, batches.largest(), ranks, engine.device,
        agree=lambda number: min(engine.gather(number)),
    )  # fmt: skip
    network = engine.prepare(network, lambda wrapped: make_optimiser(wrapped, recipe))
    network.train()
    validator = Validator(run, recipe, model, held_out, data, engine.device)
    ema = Ema(network, settings.ema) if settings.ema else None
    averaged: Callable[[], AbstractContextManager[None]] = ema.applied if ema else nullcontext
    # 2. from the last checkpoint, or from the start
    belongs = {"recipe": recipe.id, "clips": data.fingerprint()}
    found = checkpoint.load(folder, belongs)
    progress = found.progress if found else Progress()
    baselines = Baselines.of(found.baselines) if found else validator.baselines(network, engine)
    stopper = Stopper(recipe.validation, baselines, steps=settings.steps, agree=_largest(engine), note=say)
    if found:
        engine.load_state(found.state)
        stopper.load(found.stopper)
        if ema:
            ema.load(found.ema)
        say(f"train: going on from step {progress.step}")
    if ranks.main:
        _truncate_logs(folder, progress.step)
        write_text(folder / "baselines.json", json.dumps(baselines.tree()) + "\n")
    say(
        f"train: {count:,} trainable weights ({settings.method}), {len(data.clips)} clips, {batches.clips} a step, in "
        f"{batches.parts} micro-batches on each of {ranks.data_world} data ranks"
    )

    def keep(best: bool) -> None:
        state = engine.state()
        average = ema.state() if ema else {}
        if not ranks.main or state is None:
            return
        if best:
            with folder_aside(folder / "best") as aside:  # the adapters of two experts belong together
                save_trained(aside, parts, average["weights"] if ema else state.weights, recipe)
        checkpoint.save(folder, Checkpoint(progress, state, belongs, stopper.state(), baselines.tree(), average))

    meter = Meter(
        fast.work, engine.device, steps=settings.steps, done=progress.step, data_world=ranks.data_world,
        world=ranks.world,
    )  # fmt: skip
    if ranks.main:
        meter.announce()
    first = progress.step * batches.parts
    with (
        noticed() as asked,
        closing(prefetched(pinned(batches, engine.device), first, recipe.system.prefetch)) as ahead,
        closing(Trackers(recipe.system.trackers if ranks.main else (), folder, recipe, progress.step)) as trackers,
        watched(settings.steps, progress.step, wanted=recipe.system.dashboard) as view,
    ):
        stream = meter.watch(moved(ahead, engine.device))
        while not progress.stopped:
            # 3. one optimiser update
            rank = nested.draw_rank(settings.nested_ranks, recipe.seed, progress.step) if settings.nested_ranks else 0
            lrs = rates(recipe, schedules.share(progress.step, settings))
            with nested.truncated(network, rank) if rank else nullcontext():
                try:
                    loss, norm, leaving = update(network, model, stream, batches, settings, engine, lrs, asked)
                except RunError as error:
                    raise RunError(f"step {progress.step + 1}: {error}; {checkpoint.newest(folder)}") from None
            if ema:
                ema.update()
            progress.step += 1
            row = meter.row()
            progress.seconds += row["step_seconds"] or 0
            stopper.stepped(row["step_seconds"] or 0)
            if ranks.main:
                levels = [round(level, 4) for level in batches.levels(progress.step - 1)]
                told_of = {"step": progress.step, "loss": loss, "lr": lrs["weights"], "norm": norm, "sigma": levels}
                line = {**told_of, "seconds": round(progress.seconds, 2), **row}
                _append(folder / "log.jsonl", line)
                trackers.log(progress.step, line)
                view.step(line, f"loss {loss:.3f}, {brief(row)}")
            # 4. validate, and stop on the plateau or at the end
            last, better = progress.step == settings.steps, False
            validated = stopper.due(progress.step)
            with meter.paused():
                if validated:
                    with averaged():
                        reading = validator.measure(network, engine)
                    decision = stopper.take(progress.step, reading)
                    better, progress.stopped = decision.best, "steps" if last else decision.stop
                    if ranks.main:
                        found_now = reading_row(progress.step, reading, baselines, decision)
                        _append(folder / "validations.jsonl", found_now)
                        trackers.log(progress.step, found_now, "validation")
                        view.validation(found_now)
                    say(told(progress.step, reading, baselines, decision))
                # 5. save, together with what the validation decided
                if validated or leaving or progress.step % settings.save_every == 0:
                    keep(better)
            if leaving and not progress.stopped:
                asked.leave(max(engine.gather(asked.number)))  # all meet here: none leaves while the main one writes
    return _finish(folder, list(parts), recipe, progress, stopper, count, main=ranks.main)


def update(
    network: nn.Module,
    model: VideoModel,
    stream: Iterator[Batch],
    batches: Batches,
    settings: Settings,
    engine: Engine,
    lrs: Mapping[str, float] | float,
    asked: Asked,
) -> tuple[float, float, bool]:
    """Do one optimiser update over all micro-batches of this process.

    Each clip goes through the expert that its noise level belongs to. An expert that no clip of the step went to has
    no gradient at all (None, not zero): AdamW leaves its weights, its averages and its count of steps as they were.

    Returns:
        the mean loss over the clips of all processes, the norm of the whole gradient before clipping, and whether any
        process was asked to end.

    Raises:
        RunError: loss or gradient are not finite; nothing was changed.
    """
    total = torch.zeros((), device=engine.device)
    for part in range(batches.parts):
        batch = next(stream)
        # the loss in fp32 over all latent frames
        noisy = flow.interpolate(batch.latents, batch.noise, batch.sigma)
        predicted = model.velocity(network, noisy, batch.sigma, batch.condition)
        error = (predicted.float() - flow.velocity(batch.latents, batch.noise)).square().mean(dim=(1, 2, 3, 4))
        weight = flow.loss_weight(batch.sigma, density=settings.sigma_density, shift=settings.shift)
        loss = (weight * error).sum() / batches.clips
        engine.backward(loss, last=part == batches.parts - 1)
        total += loss.detach()
    loss_of_all, leaving = engine.sum(torch.stack([total.cpu(), torch.tensor(float(asked.number > 0))])).tolist()
    # one clipped update, now that the gradient is complete
    norm = engine.step(settings.clip_norm, lrs)
    return loss_of_all, norm, leaving > 0


def _finish(
    folder: Path, names: list[str], recipe: Recipe, progress: Progress, stopper: Stopper, parameters: int, *, main: bool
) -> Trained:
    files = tuple(folder / "best" / name for name in names)
    verdict = stopper.verdict(recipe.evaluate.level)
    done = Trained(files, stopper.best_step, progress.step, progress.stopped, verdict.gain)
    if not main:
        return done
    summary = {
        "steps": progress.step, "best_step": stopper.best_step, "stopped": progress.stopped,
        "seconds": round(progress.seconds, 1), "parameters": parameters, "method": recipe.train.method,
        "rank": recipe.lora.rank, "alpha": recipe.lora.alpha, "adapter": " + ".join(f"best/{name}" for name in names),
        "adapter_sha256": " + ".join(_digest(file) for file in files), "verdict": verdict._asdict(),
    }  # fmt: skip
    write_text(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    why = "the plateau" if progress.stopped == "plateau" else "the last step"
    console.done(f"train: stopped at {why} ({progress.step} steps), best at step {stopper.best_step}: "
                 f"{' and '.join(map(str, files))}; {verdict}")  # fmt: skip
    return done


def _digest(path: Path) -> str:
    """SHA-256 of a file; of a folder, of the names and digests of its files."""
    if path.is_file():
        return sha256(path)
    listed = "".join(f"{sha256(file)}  {file.name}\n" for file in sorted(path.iterdir()))
    return hashlib.sha256(listed.encode()).hexdigest()


def _largest(engine: Engine) -> Callable[[int], int]:
    return lambda number: max(engine.gather(number))


def _append(path: Path, row: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps(row) + "\n")


def _truncate_logs(folder: Path, step: int) -> None:
    """Drop what was logged after the checkpoint: those steps are going to happen again, and half lines."""
    for name in ("log.jsonl", "validations.jsonl"):
        path = folder / name
        if path.is_file():
            write_text(path, "".join(line + "\n" for line in _kept(path, step)))


def _kept(path: Path, step: int) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                yield line
        except (json.JSONDecodeError, KeyError):
            return  # the line that was being written when the process was killed
