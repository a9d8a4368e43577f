"""The sampler: from noise to latents along the published noise levels, whatever answers for the velocity.

diffusers' pipeline takes one picture a call and keeps guidance, caches and parts of the schedule to itself. Here the
loop is a few lines over a function of (latents, noise level), so that guidance, given frames and processes that share
the work are wrapped around that function. For one video it gives the pipeline's own numbers
(tests/generate/test_window.py).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cinetune.models._contract import Condition, Latents, VideoModel
from cinetune.models._scheduler import make_scheduler

Ask = Callable[[Latents, Float[Tensor, " b"]], Latents]
"""(noisy latents, noise level 0..1 of each row) -> velocity, noise - data."""


def draw_noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """Return the starting noise of one video (c f h w), drawn on the CPU so that every device gets the same."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((1, *shape), generator=generator)[0]


@torch.no_grad()
def denoise(ask: Ask, latents: Latents, scheduler: Any, *, begin: int = 0) -> Latents:
    """Return what `latents` become on the way down the scheduler's noise levels.

    Args:
        ask: the velocity.
        latents: noise; or, where `begin` is not 0, a video at that noise level.
        scheduler: of diffusers, its timesteps set.
        begin: the first of its timesteps that is taken.
    """
    if begin:
        scheduler.set_begin_index(begin)
    for timestep in scheduler.timesteps[begin:]:
        velocity = ask(latents, (timestep.float() / 1000).expand(latents.shape[0]))
        latents = scheduler.step(velocity, timestep, latents, return_dict=False)[0]
    return latents


def sample(
    model: VideoModel,
    network: nn.Module,
    condition: Condition,
    noise: Latents,
    *,
    steps: int,
    shift: float,
    guidance: float,
    negative: Float[Tensor, "m e"],
) -> Latents:
    """Return latents of one video for each row of `condition`, starting from `noise`.

    Args:
        guidance: classifier-free guidance scale w of u + w (c - u); 1 leaves the second forward pass out.
        negative: tokens of the negative (or empty) prompt.
    """
    scheduler = make_scheduler(shift)
    scheduler.set_timesteps(steps, device=noise.device)
    without = without_prompt(condition, negative)

    def ask(latents: Latents, sigma: Tensor) -> Latents:
        velocity = model.velocity(network, latents, sigma, condition)
        if guidance > 1:
            base = model.velocity(network, latents, sigma, without)
            velocity = base + guidance * (velocity - base)
        return velocity

    return denoise(ask, noise, scheduler)


def without_prompt(condition: Condition, negative: Float[Tensor, "m e"]) -> Condition:
    """Return the condition with the negative prompt in the place of each row's own."""
    rows = condition.first.shape[0]
    return replace(condition, text=negative.expand(rows, -1, -1), text_length=(negative.shape[0],) * rows)
