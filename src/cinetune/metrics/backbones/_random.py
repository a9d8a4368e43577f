"""Seeded random weights: they say nothing of a video, but a network on them computes and costs the same."""

import hashlib
import math

import numpy as np
import torch
from torch import Tensor, nn

from cinetune.metrics.backbones._contract import Identity
from cinetune.metrics.backbones._weights import COUNTER, N

SEED = 0
"""Of the weights that `resolve(..., "random", ...)` draws."""


def draw(network: nn.Module, seed: int) -> dict[str, Tensor]:
    """Draw every parameter and buffer, in the order of their names, so that activations keep their size.

    Weights of two or more dimensions are normal with variance 2 / fan-in (He et al. 2015, eq. 10), scales near 1,
    offsets and running means near 0, running variances in 0.5..1.5.
    """
    rng = np.random.default_rng(seed)
    drawn = {}
    for name, value in sorted(network.state_dict().items()):
        if name.endswith(COUNTER):
            continue
        shape = tuple(value.shape)
        if name.endswith("running_var"):
            numbers = rng.uniform(0.5, 1.5, shape)
        elif len(shape) > 1:
            numbers = rng.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))
        else:
            scale = name.endswith("weight")
            numbers = float(scale) + 0.1 * rng.standard_normal(shape)
        drawn[name] = torch.from_numpy(numbers.astype(np.float32))
    return drawn


def randomised(network: N, seed: int = SEED) -> N:
    """Fill a network with drawn weights; return it in eval mode and frozen."""
    network.load_state_dict(draw(network, seed), strict=False)
    return network.eval().requires_grad_(False)


def random_identity(name: str, version: str, preprocessing: str, network: nn.Module) -> Identity:
    """Return what a network on drawn weights is; nobody can take it for the published one."""
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        digest.update(key.encode() + value.cpu().numpy().tobytes())
    return Identity(f"{name} random", version, preprocessing, digest.hexdigest())
