"""Stage 1, top to bottom: a low-rank adapter on the cross-attention, and when to stop."""

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cinetune import console
from cinetune.adapters import lora
from cinetune.adapters.reading import EXPERT_FILES
from cinetune.errors import RecipeError, RunError
from cinetune.files import folder_aside, sha256, write_text
from cinetune.models._contract import VideoModel
from cinetune.models._velocity import Experts
from cinetune.ops import flow
from cinetune.recipe import Recipe
from cinetune.recipe import Train as Settings
from cinetune.records import Clip, read_records
from cinetune.train import checkpoint
from cinetune.train.data import Cached, collate, indices, load_split, to_device
from cinetune.train.levels import draw_levels
from cinetune.train.validation import Validator


@dataclass(frozen=True)
class Trained:
    """What a training run made."""

    adapters: tuple[Path, ...]
    """The files of the best adapter, by held-out LPIPS: one, or of a model of two experts one for each trained."""
    best_step: int
    steps: int
    stopped: str
    """"plateau" or "steps"."""


def train(run: Path, recipe: Recipe, model: VideoModel, *, device: torch.device) -> Trained:
    """Train the adapter of a prepared run, from its last checkpoint where there is one.

    Raises:
        RecordError: the run is not prepared.
        RunError: the checkpoint is damaged.
        RecipeError: one expert is asked for of a model of one network.
    """
    check_experts(recipe, model)
    folder, settings = run / "train", recipe.train
    clips = read_records(run / "footage" / "clips.jsonl", Clip)
    data = load_split(run / "footage", clips, "train")
    if not data.items:
        raise RunError(f"{run}: no training clips; run `cinetune prepare` with more footage")

    dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
    network = model.load_transformer(device, dtype)
    adapted = adapt(network, model, recipe)
    network.train()
    weights = lora.parameters(network)
    optimiser = torch.optim.AdamW(
        weights, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay
    )
    generator = torch.Generator().manual_seed(recipe.seed)
    progress = checkpoint.Progress()
    saved = folder / "checkpoint.pt"
    if saved.is_file():
        progress = checkpoint.load(saved, network, optimiser, generator)
        console.note(f"train: going on from step {progress.step}")
    _truncate_logs(folder, progress.step)
    validator = Validator(run, recipe, model, load_split(run / "footage", clips, "validation"), device)
    console.note(
        f"train: {sum(w.numel() for w in weights):,} trainable weights (rank {recipe.lora.rank}), "
        f"{len(data.items)} clips, {settings.batch} x {settings.accumulation} a step"
    )

    def keep(best: bool) -> None:
        if best:
            with folder_aside(folder / "best") as aside:  # the adapters of two experts belong together
                for name, part in adapted.items():
                    lora.save(aside / name, part)
        checkpoint.save(saved, progress, network, optimiser, generator)

    if progress.step == 0 and not progress.baseline:
        progress.baseline = validator.baselines(network)
    with console.progress("train", settings.steps, done=progress.step) as advance:
        began, before = time.monotonic(), progress.seconds
        while not progress.stopped:
            # 1. one optimiser update
            loss, sigmas = update(network, model, data, recipe, progress, optimiser, generator, device)
            progress.step += 1
            progress.seconds = before + time.monotonic() - began
            rate = optimiser.param_groups[0]["lr"]
            row = {"step": progress.step, "loss": loss, "lr": rate, "seconds": round(progress.seconds, 2)}
            row["sigma"] = [round(s, 4) for s in sigmas]
            _append(folder / "log.jsonl", row)
            advance(1, f"loss {loss:.3f}")
            # 2. stop at the end, or validate and perhaps stop
            last = progress.step == settings.steps
            validated = last or progress.step % recipe.validation.every == 0
            better = False
            if validated:
                better = _judge(validator, network, progress, recipe, folder)
                if not last and progress.since_best >= recipe.validation.patience:
                    progress.stopped = "plateau"
                elif last:
                    progress.stopped = "steps"
            # 3. save, together with what the validation decided
            if validated or progress.step % settings.save_every == 0:
                keep(better)
    return _finish(folder, list(adapted), recipe, progress, sum(w.numel() for w in weights))


def check_experts(recipe: Recipe, model: VideoModel) -> None:
    """Raise RecipeError where the recipe wants an adapter on one expert and the model has no two."""
    any_model: Any = model
    if recipe.lora.experts != "both" and any_model.facts.boundary is None:
        raise RecipeError(
            f"lora.experts = {recipe.lora.experts!r}: {recipe.model} has one network; leave the field out"
        )


def adapt(network: nn.Module, model: VideoModel, recipe: Recipe) -> dict[str, nn.Module]:
    """Put a fresh adapter on the networks that the recipe names and return these by the name of the adapter's file.

    Each expert has a seed of its own, the same whether or not the other is trained too.
    """
    parts = {lora.FILE_NAME: (network, 0)}
    if isinstance(network, Experts):
        wanted = EXPERT_FILES if recipe.lora.experts == "both" else [recipe.lora.experts]
        named = enumerate(network.by_name().items())
        parts = {EXPERT_FILES[name]: (part, number) for number, (name, part) in named if name in wanted}
    targets = model.adapter_targets(image_projections=recipe.lora.image_projections)
    for part, number in parts.values():
        lora.inject(part, targets, rank=recipe.lora.rank, alpha=recipe.lora.alpha, seed=recipe.seed + number)
        if recipe.train.checkpointing:
            part.enable_gradient_checkpointing()  # type: ignore[operator]
    return {name: part for name, (part, _) in parts.items()}


def update(
    network: nn.Module,
    model: VideoModel,
    data: Cached,
    recipe: Recipe,
    progress: checkpoint.Progress,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    device: torch.device,
) -> tuple[float, list[float]]:
    """Do one optimiser update over all micro-batches; moves `progress.position`.

    Each clip goes through the expert that its noise level belongs to. An expert that no clip of the step went to has
    no gradient at all (None, not zero): AdamW leaves its weights, its averages and its count of steps as they were.

    Returns:
        the mean loss, and the noise level of every clip that it was taken at.
    """
    settings = recipe.train
    for group in optimiser.param_groups:
        group["lr"] = settings.learning_rate * schedule(progress.step, settings)
    total, levels = 0.0, list[float]()
    for _ in range(settings.accumulation):
        # 1. clips, with captions and first frames left out at random
        pick = indices(progress.position, settings.batch, len(data.items), recipe.seed)
        progress.position += settings.batch
        drop = torch.rand(2, settings.batch, generator=generator)
        latents, condition = collate(data, pick, drop[0] < settings.caption_dropout, drop[1] < settings.image_dropout)
        # 2. noise: the same draws on every device
        noise = torch.randn(latents.shape, generator=generator)
        sigma = draw_levels(settings, network, recipe.lora.experts, generator=generator)
        noisy, target = flow.interpolate(latents, noise, sigma), flow.velocity(latents, noise)
        # 3. loss in fp32 over all latent frames
        predicted = model.velocity(network, noisy.to(device), sigma.to(device), to_device(condition, device))
        error = (predicted.float() - target.to(device)).square().mean(dim=(1, 2, 3, 4))
        weight = flow.loss_weight(sigma, density=settings.sigma_density, shift=settings.shift)
        loss = (weight.to(device) * error).mean() / settings.accumulation
        torch.autograd.backward(loss)
        total += loss.item()
        levels += sigma.tolist()
    if not math.isfinite(total):
        raise RunError(f"train: the loss is {total} at step {progress.step + 1}; lower train.learning_rate")
    # 4. one clipped update, now that the gradient is complete
    nn.utils.clip_grad_norm_(lora.parameters(network), settings.clip_norm)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return total, levels


def schedule(step: int, settings: Settings) -> float:
    """Return the share of the peak learning rate at a step (from 0): linear warm-up, then a cosine to zero."""
    warmup = round(settings.warmup * settings.steps)
    if step < warmup:
        return (step + 1) / warmup
    along = (step - warmup) / max(1, settings.steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * along))


def _judge(
    validator: Validator, network: nn.Module, progress: checkpoint.Progress, recipe: Recipe, folder: Path
) -> bool:
    """Validate, log, and say whether this is the best adapter so far."""
    reading = validator.measure(network)
    better = reading.lpips < progress.best - recipe.validation.minimum_gain
    if better:
        progress.best, progress.best_step, progress.since_best = reading.lpips, progress.step, 0
    else:
        progress.since_best += 1
    row = {
        "step": progress.step, "lpips": reading.lpips, "low": reading.low, "high": reading.high,
        "static_lpips": progress.baseline["static"], "base_lpips": progress.baseline["base"],
        "loss": reading.loss, "best": better, "clips": reading.clips,
    }  # fmt: skip
    _append(folder / "validations.jsonl", row)
    console.note(
        f"validation at step {progress.step}: LPIPS {reading.lpips:.4f} [{reading.low:.4f}, {reading.high:.4f}] "
        f"(base {progress.baseline['base']:.4f}, static {progress.baseline['static']:.4f})"
        + (" best" if better else f", {progress.since_best} of {recipe.validation.patience} without a gain")
    )
    return better


def _finish(folder: Path, names: list[str], recipe: Recipe, progress: checkpoint.Progress, parameters: int) -> Trained:
    files = tuple(folder / "best" / name for name in names)
    summary = {
        "steps": progress.step, "best_step": progress.best_step, "stopped": progress.stopped,
        "seconds": round(progress.seconds, 1), "parameters": parameters, "rank": recipe.lora.rank,
        "alpha": recipe.lora.alpha, "adapter": " + ".join(f"best/{name}" for name in names),
        "adapter_sha256": " + ".join(sha256(file) for file in files),
    }  # fmt: skip
    write_text(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    why = "the plateau" if progress.stopped == "plateau" else "the last step"
    console.done(f"train: stopped at {why} ({progress.step} steps), best at step {progress.best_step}: "
                 + " and ".join(map(str, files)))  # fmt: skip
    return Trained(files, progress.best_step, progress.step, progress.stopped)


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
