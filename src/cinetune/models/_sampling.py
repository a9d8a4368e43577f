"""Sampling many videos at once: the diffusers pipeline's loop, over a batch of different first frames.

WanImageToVideoPipeline takes one image a call. Validation during training wants a dozen clips at the price of a
few; for one clip this gives the pipeline's own numbers (tests/models/test_sampling.py).
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cinetune.models._contract import Condition, Latents, VideoModel
from cinetune.models._scheduler import make_scheduler


def draw_noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """Return the starting noise of one video (c f h w), drawn on the CPU so that every device gets the same."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((1, *shape), generator=generator)[0]


@torch.no_grad()
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
    rows = noise.shape[0]
    without = replace(condition, text=negative.expand(rows, -1, -1), text_length=(negative.shape[0],) * rows)
    latents = noise
    for timestep in scheduler.timesteps:
        sigma = (timestep.float() / 1000).expand(rows)
        velocity = model.velocity(network, latents, sigma, condition)
        if guidance > 1:
            base = model.velocity(network, latents, sigma, without)
            velocity = base + guidance * (velocity - base)
        latents = scheduler.step(velocity, timestep, latents, return_dict=False)[0]
    return latents
