"""A step-distilled adapter beside the style's: four steps instead of forty, without guidance."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cinetune.errors import RecipeError, WeightsError
from cinetune.generate.guidance import Plain
from cinetune.generate.levers._contract import Lever, Opening, Order
from cinetune.generate.network import Trained
from cinetune.generate.window import Rig
from cinetune.models._velocity import STEPS

TIMES = (1000, 750, 500, 250)
"""Before the shift."""
SHIFT = 5.0
SOURCE = "ModelTC/LightX2V lightx2v/models/schedulers/wan/step_distill/scheduler.py"


class FewSteps:
    """The sampler that step-distilled Wan was trained for: to the data's estimate, and back up to the next noise level.

        sigma = s t / (1 + (s - 1) t), t = TIMES / 1000, s = SHIFT
        x0 = x - sigma v;  x' = (1 - sigma') x0 + sigma' noise

    Wan2.1 draws new noise each time. The experts of Wan2.2 keep the noise that the estimate implies, x0 + v, which is
    an Euler step. Looks like a scheduler of diffusers to `models._sampling.denoise`.
    Source: SOURCE, WanStepDistillScheduler and Wan22StepDistillScheduler.
    """

    def __init__(self, seed: int, device: torch.device, *, renoise: bool) -> None:
        """Begin a video.

        Args:
            seed: of the window. New noise goes on where the draw of the starting noise ended.
            device: where the timesteps lie.
            renoise: draw new noise.
        """
        times = torch.tensor(TIMES, dtype=torch.float64) / STEPS
        self.sigmas = [*(SHIFT * times / (1 + (SHIFT - 1) * times)).tolist(), 0.0]
        self.timesteps = (torch.tensor(self.sigmas[:-1]) * STEPS).to(device)
        self._seed, self._renoise, self._at = seed, renoise, 0
        self._generator: torch.Generator | None = None

    def set_begin_index(self, begin: int) -> None:
        """Say which of the timesteps is the first."""
        self._at = begin

    def step(self, velocity: Tensor, timestep: Tensor, latents: Tensor, *, return_dict: bool) -> tuple[Tensor]:
        """Return the latents at the next noise level."""
        sigma, lower = self.sigmas[self._at : self._at + 2]
        self._at += 1
        data = latents - sigma * velocity
        if not lower:
            return (data,)
        noise = self._draw(latents) if self._renoise else data + velocity
        return ((1 - lower) * data + lower * noise,)

    def _draw(self, like: Tensor) -> Tensor:
        """Return new noise, drawn on the CPU so that every device and every process gets the same."""
        if self._generator is None:
            self._generator = torch.Generator().manual_seed(self._seed)
            torch.randn(like.shape, generator=self._generator)
        return torch.randn(like.shape, generator=self._generator).to(like.device)


def _open(opening: Opening, value: str) -> None:
    try:
        adapter = Trained.parse(value)
    except WeightsError:
        raise RecipeError(f"--lever distilled={value}: no such file; give PATH or PATH:STRENGTH") from None
    if not adapter.source.exists():
        raise RecipeError(f"--lever distilled={value}: no such file; give the step-distilled adapter of this base")
    opening.trained.append(adapter)


def _apply(rig: Rig, value: str) -> str:
    any_model: Any = rig.model
    renoise = any_model.facts.boundary is None
    rig.sampling = replace(rig.sampling, steps=len(TIMES), guidance=1.0, shift=SHIFT)
    rig.rule = lambda: Plain(1.0)
    rig.schedule = lambda seed: FewSteps(seed, rig.device, renoise=renoise)
    return f"{len(TIMES)} steps at shift {SHIFT:g}, without guidance"


LEVER = Lever(
    name="distilled",
    does="Adds a step-distilled adapter to the style's, and samples in four steps without guidance.",
    changes="content",
    order=Order.WEIGHTS,  # processes that share the work ask whether there is guidance
    source=f"LightX2V docs/EN/source/method_tutorials/step_distill.md; {SOURCE}",
    means="PATH or PATH:STRENGTH of an adapter such as lightx2v/Wan2.1-Distill-Loras",
    open=_open,
    told=lambda value: Trained.parse(value).told(),
    apply=_apply,
    clashes={
        "adaptive_guidance": "there is no guidance to end",
        "first_block": "four steps have nothing in common to leave out",
        "magnitude": "its ratios are of the plain sampler",
    },
)
