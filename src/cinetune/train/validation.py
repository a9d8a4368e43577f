"""Validation that decides: sample held-out first frames, compare with what really followed, and measure the flow loss.

The same clips, the same noise and the same noise levels every time, so that two validations differ by what was trained
alone. Nothing is encoded: captions and first frames come from the cache, and of the model only the decoder is loaded.
On a GPU it rests in host memory but for the moments in which it decodes, one video at a time, and no more clips go
through the network together than a training micro-batch has, so that validation needs no more memory than a step.

Several processes share the clips. What goes through the network together does not depend on how many they are, and
each does as many passes as any other (the last ones twice where the clips do not divide), because a sharded network
is a meeting of all.
"""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from cinetune import plugins
from cinetune.errors import MetricError, RecipeError, RunError
from cinetune.footage.video_io import read_video
from cinetune.metrics._contract import CorpusMetric, Features, Item, ItemMetric, Measured
from cinetune.metrics.backbones._contract import Eye
from cinetune.metrics.backbones._resolve import resolve
from cinetune.models._contract import Latents, VideoModel
from cinetune.models._sampling import draw_noise, sample
from cinetune.ops import flow
from cinetune.ops.statistics import bootstrap_mean
from cinetune.ops.video import to_frames
from cinetune.recipe import Recipe
from cinetune.train.data import Cached, collate, to_device
from cinetune.train.engines._contract import Engine
from cinetune.train.readings import Baselines, Reading

QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Of the noise levels that training draws: at these the held-out flow loss is measured."""
DRAWS = 2_000_000
"""From which the quantiles are taken: within 0.001 of the true ones, whatever the density."""
TOGETHER = 4
"""Most videos sampled together; fewer where a training micro-batch has fewer."""
LOSS_SEED = 7919

T = TypeVar("T")
R = TypeVar("R")
Frames = UInt8[np.ndarray, "f h w 3"]


@dataclass(frozen=True)
class Seen:
    """What was made of one sampled video."""

    value: float | None
    reason: str
    """Why there is no value."""
    nearest: float | None


class Validator:
    """Holds what stays the same from one validation to the next."""

    def __init__(
        self, run: Path, recipe: Recipe, model: VideoModel, held_out: Cached, training: Cached, device: torch.device
    ) -> None:
        """Take `validation.clips` clips of `held_out`, spread evenly, and as many of `training`.

        Raises:
            RunError: there is no held-out clip of more than one frame.
            RecipeError: `validation.metric` is not a number for single videos, or has no better direction.
            PluginError: no such metric.
            WeightsError: the weights of a network are missing or damaged.
        """
        settings = recipe.validation
        self.run, self.recipe, self.model, self.device = run, recipe, model, device
        self.held_out, self.training = held_out, training
        self.metric, self.better = decisive_metric(settings.metric)
        self.pick, self.pick_training = _spread(held_out, settings.clips), _spread(training, settings.clips)
        if not self.pick:
            raise RunError(
                f"{run}: no validation clip of more than one frame; run `cinetune prepare` with more footage"
            )
        self.pick.sort(key=lambda n: (_shape(held_out, n), n))  # only equal shapes go through the network together
        self.levels = quantile_levels(recipe, model)
        self.eye = self._eye(self.metric)
        self.decoder = model.load_decoder(device)
        self.searched = _spread(training, settings.search) if settings.search else []
        self.copies: CorpusMetric = plugins.load("metrics", "nearest_training")
        self.copies_eye = self._eye(self.copies) if self.searched else None
        self._known: list[Features] | None = None

    def measure(self, network: nn.Module, engine: Engine) -> Reading:
        """Sample, compare, and measure flow losses; every process returns the same. Collective.

        Raises:
            MetricError: not one video has a value.
        """
        began, training = time.monotonic(), network.training
        network.eval()
        known = self._training_features(engine)
        groups = shared(self._groups(), lambda group: self._see(network, group, known), engine)
        seen = [one for group in groups for one in group]
        held_out = self._losses(network, self.held_out, self.pick, engine)
        trained = self._losses(network, self.training, self.pick_training, engine)
        network.train(training)
        values = [one.value for one in seen]
        there = np.array([value for value in values if value is not None])
        if not len(there):
            raise MetricError(
                f"validation.metric {self.metric.name!r} has no value for any of {len(values)} validation clips: "
                f"{seen[0].reason}; choose another"
            )
        enough = len(there) > 1
        low, high = bootstrap_mean(there, level=0.95, resamples=1000, seed=self.recipe.seed) if enough else (None, None)
        nearest = [one.nearest for one in seen] if known else []
        return Reading(values, low, high, held_out, trained, nearest, max(engine.gather(time.monotonic() - began)))

    def baselines(self, network: nn.Module, engine: Engine) -> Baselines:
        """Measure what does not change: the base, first frames held still, real clips. Collective.

        To be called before the first step, when what is trained still does nothing.

        Raises:
            MetricError: not one video of the base has a value.
        """
        began, known = time.monotonic(), self._training_features(engine)

        def real_and_still(n: int) -> tuple[float | None, float | None]:
            truth = self._truth(n)
            return self._nearest(truth, known), self._score(np.repeat(truth[:1], len(truth), axis=0), truth, n).value

        pairs = shared(self.pick, real_and_still, engine)
        base = self.measure(network, engine)
        seconds = max(engine.gather(time.monotonic() - began))
        real, still = [near for near, _ in pairs] if known else [], [value for _, value in pairs]
        return Baselines(self.metric.name, self.better, self.levels, base, still, real, seconds)

    def _groups(self) -> list[list[int]]:
        """The held-out clips that are sampled together: of one shape, and as many whatever the number of processes."""
        size, groups = min(TOGETHER, self.recipe.train.batch), []
        for _, alike in itertools.groupby(self.pick, lambda n: _shape(self.held_out, n)):
            clips = list(alike)
            groups += [clips[start : start + size] for start in range(0, len(clips), size)]
        return groups

    def _see(self, network: nn.Module, group: list[int], known: list[Features]) -> list[Seen]:
        """Sample the clips of a group together, then decode and compare one after another."""
        seen = []
        for n, latents in zip(group, self._sampled(network, group), strict=True):
            video, truth = to_frames(self.decoder.decode(latents[None])[0]), self._truth(n)
            measured = self._score(video, truth, n)
            seen.append(Seen(measured.value, measured.reason, self._nearest(video, known)))
        self.decoder.rest()
        return seen

    def _sampled(self, network: nn.Module, group: list[int]) -> Latents:
        settings = self.recipe.validation
        latents, condition = collate(self.held_out, group, *_keep_all(len(group)))
        noise = torch.stack([draw_noise(tuple(latents.shape[1:]), self.recipe.seed + n) for n in group])
        return sample(
            self.model, network, to_device(condition, self.device), noise.to(self.device),
            steps=settings.steps, shift=self.recipe.generate.shift, guidance=settings.guidance,
            negative=self.held_out.empty.to(self.device),
        )  # fmt: skip

    @torch.no_grad()
    def _losses(self, network: nn.Module, cached: Cached, pick: list[int], engine: Engine) -> list[list[float]]:
        """The training loss of clips at fixed noise and fixed noise levels: clips x levels."""
        settings, every = self.recipe.train, torch.tensor(self.levels)
        weights = flow.loss_weight(every, density=settings.sigma_density, shift=settings.shift)

        def losses(place: int) -> list[float]:
            of_one = []
            for sigma, weight in zip(
                torch.split(every, settings.batch), torch.split(weights, settings.batch), strict=True
            ):
                latents, condition = collate(cached, [pick[place]] * len(sigma), *_keep_all(len(sigma)))
                noise = draw_noise(tuple(latents.shape[1:]), LOSS_SEED + place).expand_as(latents)
                noisy = flow.interpolate(latents, noise, sigma).to(self.device)
                told = to_device(condition, self.device)
                error = self.model.velocity(network, noisy, sigma.to(self.device), told).float().cpu()
                error -= flow.velocity(latents, noise)
                of_one += (weight * error.square().mean(dim=(1, 2, 3, 4))).tolist()
            return of_one

        return shared(range(len(pick)), losses, engine)

    def _training_features(self, engine: Engine) -> list[Features]:
        """What the search for copies knows of training clips, looked at once; empty where none are searched."""
        if self._known is None:
            look = self.copies.look.features

            def features(n: int) -> Features:
                return look(Item(_video(self.run, self.training, n), None, ""), self.copies_eye)

            self._known = shared(self.searched, features, engine)
        return self._known

    def _nearest(self, video: Frames, known: list[Features]) -> float | None:
        if not known:
            return None
        return self.copies.score(self.copies.look.features(Item(video, None, ""), self.copies_eye), known).value

    def _score(self, video: Frames, truth: Frames, n: int) -> Measured:
        item = Item(video, truth, self.held_out.clips[n].caption)
        obstacle = self.metric.look.obstacle(item)
        return Measured(None, obstacle) if obstacle else self.metric.score(self.metric.look.features(item, self.eye))

    def _truth(self, n: int) -> Frames:
        return _video(self.run, self.held_out, n)

    def _eye(self, metric: ItemMetric | CorpusMetric) -> Eye | None:
        role = metric.backbone
        return resolve(role, self.recipe.evaluate.weights, {}, self.device) if role else None


def decisive_metric(name: str) -> tuple[ItemMetric, Literal["lower", "higher"]]:
    """Return a metric that can decide, and its better direction.

    Raises:
        PluginError: no such metric.
        RecipeError: it is no number for single videos, or neither direction is better.
    """
    metric = plugins.load("metrics", name)
    if not isinstance(metric, ItemMetric):
        raise RecipeError(
            f"validation.metric = {name!r} is not a number for single videos, which few clips can decide by; "
            "take one such as lpips, dists or ssim"
        )
    if metric.better == "neither":
        raise RecipeError(f"validation.metric = {name!r}: neither direction of it is better; take one such as lpips")
    return metric, metric.better


def quantile_levels(recipe: Recipe, model: VideoModel) -> list[float]:
    """Return the noise levels at QUANTILES of what training draws, after the shift and in the range of the experts.

    Their mean loss thus estimates the loss that training lowers, where levels spread evenly over 0..1 would be mostly
    such as it hardly ever sees.
    """
    settings, any_model, experts = recipe.train, cast(Any, model), recipe.lora.experts
    generator = torch.Generator().manual_seed(0)
    drawn = flow.sample_sigma(DRAWS, generator=generator, density=settings.sigma_density)
    drawn = flow.shift_sigma(drawn, settings.shift)
    if experts != "both" and any_model.facts.boundary is not None:
        drawn = drawn[(drawn >= any_model.facts.boundary) == (experts == "high")]
    return [round(level, 3) for level in np.quantile(drawn.numpy(), QUANTILES).tolist()]


def shared(items: Sequence[T], work: Callable[[T], R], engine: Engine) -> list[R]:
    """Do each item on one of the data ranks and return all results on every rank, in order. Collective.

    Every rank works equally often; where the items do not divide, the last one is done again and that result dropped.
    """
    rank, world = engine.ranks.data_rank, engine.ranks.data_world
    rounds = math.ceil(len(items) / world)
    mine = [work(items[min(turn * world + rank, len(items) - 1)]) for turn in range(rounds)]
    everyone = engine.gather(mine)
    return [everyone[place % world][place // world] for place in range(len(items))]


def _spread(cached: Cached, count: int) -> list[int]:
    """Up to `count` clips of more than one frame, spread evenly."""
    moving = [n for n, clip in enumerate(cached.clips) if clip.frames > 1]
    count = min(count, len(moving))
    return [moving[place] for place in sorted({int(i) for i in np.linspace(0, len(moving) - 1, count)})]


def _shape(cached: Cached, n: int) -> tuple[int, int, int]:
    clip = cached.clips[n]
    return clip.frames, clip.height, clip.width


def _video(run: Path, cached: Cached, n: int) -> Frames:
    return read_video(run / "footage" / cached.clips[n].video)[0]


def _keep_all(count: int) -> tuple[Tensor, Tensor]:
    none = torch.zeros(count, dtype=torch.bool)
    return none, none
