import math

import pytest
import torch
from torch import nn

from cinetune.errors import RecipeError
from cinetune.models._velocity import Experts
from cinetune.ops import flow
from cinetune.recipe import Train
from cinetune.train.levels import draw_levels

COUNT = 20_000
BOUNDARY = 0.9


def experts(boundary: float = BOUNDARY) -> Experts:
    return Experts(nn.Identity(), nn.Identity(), boundary)


def share_below(sigma: torch.Tensor, settings: Train) -> torch.Tensor:
    """The closed form of the density's distribution function at shifted levels."""
    sigma = sigma.double()
    even = sigma / (settings.shift - (settings.shift - 1) * sigma)
    return torch.special.ndtr(even.logit()) if settings.sigma_density == "logit_normal" else even


@pytest.mark.parametrize("density", ["logit_normal", "uniform"])
@pytest.mark.parametrize("which", ["high", "low"])
def test_levels_of_one_expert_follow_the_density_cut_to_its_range(which: str, density: str) -> None:
    settings = Train.model_validate({"shift": 5.0, "sigma_density": density})
    levels = draw_levels(settings, experts(), which, COUNT, generator=torch.Generator().manual_seed(0)).sort().values
    assert ((levels >= BOUNDARY) == (which == "high")).all()
    cut = share_below(torch.tensor(BOUNDARY), settings)
    below, above = (cut, torch.tensor(1.0)) if which == "high" else (torch.tensor(0.0), cut)
    wanted = (share_below(levels, settings) - below) / (above - below)
    steps = torch.arange(COUNT + 1) / COUNT
    distance = torch.maximum((wanted - steps[:-1]).abs(), (wanted - steps[1:]).abs()).max().item()
    assert distance < 1.63 / math.sqrt(COUNT), "Kolmogorov-Smirnov, 1 %"


@pytest.mark.parametrize(("boundary", "shift", "share"), [(0.9, 3.0, 0.136), (0.9, 5.0, 0.278), (0.875, 12.0, 0.705)])
def test_share_of_the_clips_that_the_high_noise_expert_gets(boundary: float, shift: float, share: float) -> None:
    """docs/base-models.md tells these; from the normal distribution's tables."""
    network = experts(boundary)
    levels = draw_levels(Train(shift=shift), network, "both", COUNT, generator=torch.Generator().manual_seed(0))
    assert network.high(levels).float().mean().item() == pytest.approx(share, abs=4 * 0.5 / math.sqrt(COUNT))


def test_both_experts_and_one_network_draw_what_was_always_drawn() -> None:
    settings = Train(shift=5.0)
    plain = flow.sample_sigma(64, generator=torch.Generator().manual_seed(3), density="logit_normal")
    for network in (experts(), nn.Identity()):
        drawn = draw_levels(settings, network, "both", 64, generator=torch.Generator().manual_seed(3))
        assert torch.equal(drawn, flow.shift_sigma(plain, 5.0))


def test_a_range_that_nothing_falls_into_is_an_error() -> None:
    with pytest.raises(RecipeError, match=r"in the range of the high noise expert; change train\.shift"):
        draw_levels(Train(), experts(2.0), "high", 1, generator=torch.Generator().manual_seed(0))
