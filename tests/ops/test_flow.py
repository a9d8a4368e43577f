import pytest
import torch

from cinetune.ops import flow


def test_ends_of_the_path() -> None:
    data, noise = torch.zeros(2, 4, 3, 8, 8), torch.ones(2, 4, 3, 8, 8)
    path = flow.interpolate(data, noise, torch.tensor([0.0, 1.0]))
    assert torch.equal(path[0], data[0])
    assert torch.equal(path[1], noise[1])


def test_velocity_is_the_slope_of_the_path() -> None:
    generator = torch.Generator().manual_seed(0)
    data, noise = torch.randn(2, 3, 4, 2, 5, 5, generator=generator).double()
    low, high = torch.full((3,), 0.25).double(), torch.full((3,), 0.5).double()
    slope = (flow.interpolate(data, noise, high) - flow.interpolate(data, noise, low)) / 0.25
    assert torch.allclose(slope, flow.velocity(data, noise))


def test_shift_keeps_the_ends_and_one_is_the_identity() -> None:
    sigma = torch.linspace(0, 1, 11)
    assert torch.equal(flow.shift_sigma(sigma, 1.0), sigma)
    shifted = flow.shift_sigma(sigma, 3.0)
    assert shifted[0] == 0
    assert shifted[-1] == 1
    assert (shifted[1:-1] > sigma[1:-1]).all()
    assert torch.allclose(flow.shift_sigma(shifted, 1 / 3), sigma, atol=1e-6)


@pytest.mark.parametrize(
    ("density", "mean", "spread"),
    [
        ("logit_normal", 0.5, 0.2083),
        ("uniform", 0.5, 0.2887),
        ("bell", 0.5, 0.2887),
        ("mode", 0.5, 0.2154),
    ],
)
def test_densities_have_their_moments(density: str, mean: float, spread: float) -> None:
    drawn = flow.sample_sigma(200_000, generator=torch.Generator().manual_seed(1), density=density)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert drawn.mean() == pytest.approx(mean, abs=0.003)
    assert drawn.std() == pytest.approx(spread, abs=0.003)


@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0])
def test_the_bell_weighs_one_on_average_most_in_the_middle_and_nothing_at_the_ends(shift: float) -> None:
    even = flow.sample_sigma(400_000, generator=torch.Generator().manual_seed(2), density="bell")
    weight = flow.loss_weight(flow.shift_sigma(even, shift), density="bell", shift=shift)
    assert weight.mean() == pytest.approx(1.0, abs=0.005)
    low, middle, high = flow.loss_weight(torch.tensor([0.0, 0.5, 1.0]), density="bell", shift=shift)
    assert low == pytest.approx(0, abs=1e-6)
    assert high == pytest.approx(0, abs=1e-6)
    assert middle == weight.max().item() or middle > weight.max() - 1e-3
    assert torch.equal(flow.loss_weight(even, density="mode", shift=shift), torch.ones_like(even))


def test_mode_is_the_published_curve() -> None:
    """Esser et al. 2024, eq. 20 is monotone from 1 to 0: its inverse at the quantiles of the draws is uniform."""
    drawn = flow.sample_sigma(100_000, generator=torch.Generator().manual_seed(3), density="mode").sort().values
    even = torch.linspace(1, 0, 100_000)
    curve = 1 - even - 1.29 * (torch.cos(torch.pi / 2 * even) ** 2 - 1 + even)
    assert (drawn - curve).abs().max() < 0.01


def test_unknown_density_is_an_error() -> None:
    with pytest.raises(ValueError, match="cosine"):
        flow.sample_sigma(1, generator=torch.Generator(), density="cosine")


def test_wrong_shape_is_caught_in_tests() -> None:
    with pytest.raises(Exception, match="b c f h w"):
        flow.velocity(torch.zeros(2, 4, 8, 8), torch.zeros(2, 4, 8, 8))
