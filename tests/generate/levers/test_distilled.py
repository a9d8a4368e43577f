"""The sampler of step-distilled Wan, against a few lines of numpy, and its place among the levers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cinetune.errors import CinetuneError
from cinetune.generate.levers.distilled import LEVER, FewSteps
from cinetune.generate.network import Trained
from cinetune.models._sampling import denoise, draw_noise
from cinetune.models._wan import WanModel
from lever_studio import CPU, adapter, studio, window, work
from tiny_kinds import build


def field(x: Any, sigma: float) -> Any:
    """Some velocity."""
    return 0.3 * x + sigma


@pytest.mark.parametrize("renoise", [True, False])
def test_it_is_the_published_sampler(renoise: bool) -> None:
    start = draw_noise((2, 3, 4, 4), 5)[None]
    ours = denoise(lambda x, s: field(x, float(s[0])), start, FewSteps(5, CPU, renoise=renoise))
    t = np.array([1.0, 0.75, 0.5, 0.25])
    levels = 5 * t / (1 + 4 * t)  # as published: 1000, 937.5, 833.3 and 625 of the network's own time
    g = torch.Generator().manual_seed(5)
    x = torch.randn((1, 2, 3, 4, 4), generator=g).numpy().astype(np.float64)
    for n, sigma in enumerate(levels):
        v = field(x, np.float32(sigma * 1000) / 1000)
        if n == 3:
            x = x - sigma * v
        elif renoise:
            x = (1 - levels[n + 1]) * (x - sigma * v) + levels[n + 1] * torch.randn(x.shape, generator=g).numpy()
        else:
            x = x + (levels[n + 1] - sigma) * v
    assert np.abs(ours.numpy() - x).max() <= 1e-5
    assert np.allclose(FewSteps(5, CPU, renoise=renoise).timesteps.numpy(), [1000, 937.5, 833.3333, 625])


def test_a_straight_way_is_followed_to_its_end() -> None:
    data, noise = torch.full((1, 1, 1, 2, 2), 0.7), draw_noise((1, 1, 2, 2), 1)[None]
    made = denoise(lambda x, s: (x - data) / s.view(-1, 1, 1, 1, 1), noise, FewSteps(1, CPU, renoise=True))
    assert torch.allclose(made, data, atol=1e-6)


def test_four_passes_the_style_s_adapter_beside_it_and_the_seed_s_own_noise(tiny: WanModel, tmp_path: Path) -> None:
    style, few = (adapter(tiny, tmp_path / f"{n}.safetensors", n) for n in (1, 2))
    room = studio(tiny, f"distilled={few}:0.5", trained=(Trained(style),), guidance=5.0)
    assert work(room)["passes"] == 4
    assert (room.rig.sampling.steps, room.rig.sampling.guidance, room.rig.sampling.shift) == (4, 1.0, 5.0)
    made = room.latents(window())
    room.latents(window(seed=9))
    assert torch.equal(room.latents(window()), made)
    stacked = studio(tiny, trained=(Trained(style), Trained(few, 0.5)))
    for ours, weight in zip(room.rig.network.parameters(), stacked.rig.network.parameters(), strict=True):
        assert torch.equal(ours, weight)
    assert work(room, window(strength=0.9))["passes"] < 4


def test_wan22_takes_euler_steps(tiny: WanModel, tmp_path: Path) -> None:
    model = build(tiny, tmp_path / "model", "two experts")
    few = adapter(tiny, tmp_path / "few.safetensors")
    with pytest.raises(CinetuneError, match="this model has two experts"):
        studio(model, f"distilled={few}")
    rig = studio(model).rig
    LEVER.apply(rig, "")
    one, other = (denoise(lambda x, s: 0.3 * x, draw_noise((1, 2, 2, 2), 1)[None], rig.schedule(n)) for n in (1, 2))
    assert torch.equal(one, other), "nothing is drawn"


def test_what_it_does_not_go_with(tiny: WanModel, tmp_path: Path) -> None:
    few = adapter(tiny, tmp_path / "few.safetensors")
    for other in ("magnitude", "first_block", "adaptive_guidance"):
        with pytest.raises(CinetuneError, match=f"{other}|distilled"):
            studio(tiny, f"distilled={few}", other, guidance=2.0)
    with pytest.raises(CinetuneError, match=r"--lever distilled=\S*nowhere.safetensors: no such file"):
        studio(tiny, f"distilled={tmp_path / 'nowhere.safetensors'}")
