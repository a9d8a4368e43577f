"""Distortions grow with their strength and draw from their generator alone."""

import pytest
import torch

from cinetune.ops.distortions import KINDS, weak_and_strong

IMAGES = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_stronger_is_farther(kind: str) -> None:
    generator = torch.Generator().manual_seed(1)
    state = torch.get_rng_state()
    for _ in range(5):
        weak, strong = weak_and_strong(IMAGES, kind, generator)
        if kind != "shift":  # past a few pixels, white noise shifted further is no farther
            assert (strong - IMAGES).square().mean() > (weak - IMAGES).square().mean()
        assert strong.abs().max() <= 1
    assert torch.equal(torch.get_rng_state(), state)


def test_a_shift_moves_by_its_pixels() -> None:
    """Strength 1/8 is one pixel; along a ramp that is a constant."""
    ramp = torch.linspace(-1, 1, 48).expand(1, 3, 32, 48)
    moved = KINDS["shift"](ramp, 1 / 8, torch.Generator().manual_seed(2))[..., 4:-4]
    step = float(ramp[0, 0, 0, 1] - ramp[0, 0, 0, 0])
    difference = moved - ramp[..., 4:-4]
    assert difference.std() < 1e-5
    assert 0 < difference.abs().mean() <= step * 1.001


def test_blocks_end_in_means() -> None:
    flat = KINDS["blocks"](IMAGES, 1.0, torch.Generator())
    assert torch.allclose(
        flat[0, :, :8, :8], IMAGES[0, :, :8, :8].mean((1, 2)).view(3, 1, 1).expand(3, 8, 8), atol=1e-6
    )
