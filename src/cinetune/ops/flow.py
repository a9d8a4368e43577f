"""The rectified-flow path and its target (Liu et al. 2022, eq. 1; Esser et al. 2024, sec. 2).

Axes: b batch, c latent channels, f latent frames, h latent height, w latent width.
`sigma` is the noise level, 0 = data, 1 = noise.
"""

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


def sample_sigma(count: int, *, generator: torch.Generator, density: str = "logit_normal") -> Sigma:
    """Draw `count` noise levels: logit-normal (Esser et al. 2024, eq. 19, m = 0, s = 1) or uniform."""
    if density == "logit_normal":
        return torch.randn(count, generator=generator).sigmoid()
    if density == "uniform":
        return torch.rand(count, generator=generator)
    raise ValueError(f"no sigma density named {density!r}")


def shift_sigma(sigma: Sigma, shift: float) -> Sigma:
    """Return shift sigma / (1 + (shift - 1) sigma): more noise for larger pictures (Esser et al. 2024, eq. 23)."""
    return shift * sigma / (1 + (shift - 1) * sigma)
