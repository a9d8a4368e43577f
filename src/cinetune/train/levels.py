"""The noise levels of clips: the recipe's density, or its part where one of two experts works."""

import torch
from torch import nn

from cinetune.errors import RecipeError
from cinetune.models._velocity import Experts
from cinetune.ops import flow
from cinetune.recipe import Train as Settings

TRIES = 10_000
"""Draws after which a range that nothing fell into counts as empty."""


def draw_levels(
    settings: Settings, network: nn.Module, experts: str, count: int, *, generator: torch.Generator
) -> flow.Sigma:
    """Return `count` shifted noise levels.

    With one expert of two chosen, levels outside its range are drawn again: what is left follows the density cut to
    the range and scaled to 1, whatever the density, and by the very rule that sends a clip to an expert.

    Args:
        experts: "both", or of `Experts` "high" or "low".

    Raises:
        RecipeError: the density has next to nothing in the expert's range.
    """
    drawn = _draw(settings, count, generator)
    if experts == "both" or not isinstance(network, Experts):
        return drawn
    for _ in range(TRIES):
        outside = network.high(drawn) if experts == "low" else ~network.high(drawn)
        if not outside.any():
            return drawn
        drawn[outside] = _draw(settings, int(outside.sum()), generator)
    raise RecipeError(
        f"train.sigma_density {settings.sigma_density!r} with shift {settings.shift:g}: no noise level of {TRIES:,} "
        f"drawn is in the range of the {experts} noise expert; change train.shift"
    )


def _draw(settings: Settings, count: int, generator: torch.Generator) -> flow.Sigma:
    even = flow.sample_sigma(count, generator=generator, density=settings.sigma_density)
    return flow.shift_sigma(even, settings.shift)
