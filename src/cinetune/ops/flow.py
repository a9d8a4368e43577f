"""The rectified-flow path and its target (Liu et al. 2022, eq. 1; Esser et al. 2024, sec. 2).

Axes: b batch, c latent channels, f latent frames, h latent height, w latent width.
`sigma` is the noise level, 0 = data, 1 = noise.
"""

import functools
import math

import torch
from jaxtyping import Float
from torch import Tensor

Latents = Float[Tensor, "b c f h w"]
Sigma = Float[Tensor, " b"]


def interpolate(data: Latents, noise: Latents, sigma: Sigma) -> Latents:
    """Return the noisy latents (1 - sigma) data + sigma noise."""
    sigma = sigma.view(-1, 1, 1, 1, 1)
    return (1 - sigma) * data + sigma * noise


def velocity(data: Latents, noise: Latents) -> Latents:
    """Return the regression target d x / d sigma = noise - data."""
    return noise - data


DENSITIES = ("logit_normal", "uniform", "mode", "bell")


def sample_sigma(count: int, *, generator: torch.Generator, density: str = "logit_normal") -> Sigma:
    """Draw `count` noise levels in 0..1, before the shift.

    logit_normal: Esser et al. 2024, eq. 19 with m = 0, s = 1. mode: eq. 20 with s = 1.29, more weight in the middle and
    some at the ends. uniform. bell: uniform too, its bell is the weight of the loss (`loss_weight`).

    Raises:
        ValueError: no density of that name.
    """
    if density == "logit_normal":
        return torch.randn(count, generator=generator).sigmoid()
    if density not in DENSITIES:
        raise ValueError(f"no sigma density named {density!r}; there are {', '.join(DENSITIES)}")
    even = torch.rand(count, generator=generator)
    if density == "mode":
        return 1 - even - 1.29 * ((math.pi / 2 * even).cos().square() - 1 + even)
    return even


def loss_weight(sigma: Sigma, *, density: str, shift: float) -> Sigma:
    """Return the weight of the loss at (shifted) noise levels: 1, or for `bell` a bell whose mean over training is 1.

    The bell is exp(-2 (sigma - 1/2)^2), lowered so that it ends at 0 (BSMNTW of DiffSynth-Studio).
    """
    if density != "bell":
        return torch.ones_like(sigma)
    return _bell(sigma) / _mean_bell(shift)


def _bell(sigma: Tensor) -> Tensor:
    return (-2 * (sigma - 0.5).square()).exp() - math.exp(-0.5)


@functools.cache
def _mean_bell(shift: float) -> float:
    """Return the mean of the bell where sigma is uniform before the shift."""
    even = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    return float(_bell(shift_sigma(even, shift)).mean())


def shift_sigma(sigma: Sigma, shift: float) -> Sigma:
    """Return shift sigma / (1 + (shift - 1) sigma): more noise for larger pictures (Esser et al. 2024, eq. 23)."""
    return shift * sigma / (1 + (shift - 1) * sigma)
