"""Distortions of growing strength: of two of one kind, the stronger must be the farther.

Images are in -1..1, strengths in 0..1. All are differentiable and draw only from the generator they are given.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Images = Float[Tensor, "b 3 h w"]
REACH = 9
"""Pixels that the blur looks to each side."""


def blur(x: Images, strength: float, generator: torch.Generator) -> Images:
    """Gaussian, deviation 0.3 to 3.5 pixels."""
    at = torch.arange(-REACH, REACH + 1, dtype=x.dtype)
    kernel = torch.exp(-(at**2) / (2 * (0.3 + 3.2 * strength) ** 2))
    kernel = (kernel / kernel.sum()).repeat(3, 1, 1, 1)
    x = F.conv2d(F.pad(x, (REACH, REACH, 0, 0), mode="replicate"), kernel, groups=3)
    return F.conv2d(F.pad(x, (0, 0, REACH, REACH), mode="replicate"), kernel.transpose(2, 3), groups=3)


def noise(x: Images, strength: float, generator: torch.Generator) -> Images:
    """Gaussian, independent at each pixel, deviation up to 0.5."""
    return x + 0.5 * strength * torch.randn(x.shape, generator=generator)


def shift(x: Images, strength: float, generator: torch.Generator) -> Images:
    """Up to 8 pixels in a random direction, sub-pixel, edges repeated."""
    angle = 2 * math.pi * float(torch.rand(1, generator=generator))
    height, width = x.shape[-2:]
    far = 16 * strength  # affine_grid counts in halves of the image
    move = torch.tensor([[1.0, 0, far * math.cos(angle) / width], [0, 1.0, far * math.sin(angle) / height]])
    grid = F.affine_grid(move.expand(len(x), 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def cast(x: Images, strength: float, generator: torch.Generator) -> Images:
    """A random tint, up to 0.8 long in RGB."""
    tint = F.normalize(torch.randn(3, generator=generator), dim=0).view(1, 3, 1, 1)
    return x + 0.8 * strength * tint


def blocks(x: Images, strength: float, generator: torch.Generator) -> Images:
    """Towards the means of blocks of 8 x 8 pixels."""
    flat = F.interpolate(F.avg_pool2d(x, 8, ceil_mode=True), x.shape[-2:], mode="nearest")
    return x + strength * (flat - x)


KINDS: dict[str, Callable[[Images, float, torch.Generator], Images]] = {
    "blur": blur,
    "noise": noise,
    "shift": shift,
    "cast": cast,
    "blocks": blocks,
}


def weak_and_strong(x: Images, kind: str, generator: torch.Generator) -> tuple[Images, Images]:
    """Return the images distorted at two random strengths at least 0.1 apart, with the same noise or direction."""
    low = 0.9 * float(torch.rand(1, generator=generator))
    high = low + 0.1 + (0.9 - low) * float(torch.rand(1, generator=generator))
    state = generator.get_state()
    weak = KINDS[kind](x, low, generator).clamp(-1, 1)
    generator.set_state(state)
    return weak, KINDS[kind](x, high, generator).clamp(-1, 1)
