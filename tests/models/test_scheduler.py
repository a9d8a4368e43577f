"""The noise levels against those of the published implementation."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cinetune.models._scheduler import PublishedUniPC, make_scheduler


@pytest.mark.parametrize(("steps", "shift"), [(4, 3), (40, 3), (20, 5), (40, 5)])
def test_grid_is_the_published_one(shared: Path, steps: int, shift: int) -> None:
    golden = load_file(shared / "reference" / "wan_official" / "golden.safetensors")
    scheduler = make_scheduler(float(shift))
    scheduler.set_timesteps(steps)
    assert torch.allclose(scheduler.sigmas, golden[f"unipc.sigmas.{steps}steps.shift{shift}"], atol=1e-7)
    assert torch.equal(scheduler.timesteps.float(), golden[f"unipc.timesteps.{steps}steps.shift{shift}"])


def test_grid_survives_saving_as_a_diffusers_scheduler(tmp_path: Path) -> None:
    make_scheduler(3.0).save_pretrained(tmp_path)
    again = PublishedUniPC.from_pretrained(tmp_path)
    again.set_timesteps(7)
    fresh = make_scheduler(3.0)
    fresh.set_timesteps(7)
    assert torch.equal(again.sigmas, fresh.sigmas)
    assert torch.equal(again.timesteps, fresh.timesteps)


def test_a_perfect_velocity_leads_to_the_data() -> None:
    data, noise = torch.randn(2, 1, 4, 2, 4, 4, generator=torch.Generator().manual_seed(3))
    scheduler = make_scheduler(3.0)
    scheduler.set_timesteps(6)
    latents = noise * scheduler.sigmas[0] + data * (1 - scheduler.sigmas[0])
    for timestep in scheduler.timesteps:
        latents = scheduler.step(noise - data, timestep, latents, return_dict=False)[0]
    assert torch.allclose(latents, data, atol=1e-4)
