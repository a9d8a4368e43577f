"""UniPC with the noise levels that the published Wan2.1 uses.

diffusers' own flow grid starts at 0.999999 and differs by up to 0.0035, enough to change a sample; the published
grid, set on the same scheduler, gives the published samples (shared/reference/wan_official, 7e-6).
"""

import numpy as np
import torch
from diffusers import UniPCMultistepScheduler

TRAIN_STEPS = 1000
"""Discrete noise levels of the training schedule; the grid runs between the first and the last of them."""


class PublishedUniPC(UniPCMultistepScheduler):  # type: ignore[misc]  # diffusers has no types
    """UniPC (order 2, predictor and corrector, B(h) = exp(h) - 1) on the published flow grid."""

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        sigmas: list[float] | None = None,
        mu: float | None = None,
    ) -> None:
        """Set `num_inference_steps` noise levels, shifted by the scheduler's `flow_shift`.

        Source: Wan2.1, wan/utils/fm_solvers_unipc.py, set_timesteps.
        """
        super().set_timesteps(num_inference_steps, device=device, sigmas=sigmas, mu=mu)
        if num_inference_steps is None or sigmas is not None:
            return
        grid = published_sigmas(num_inference_steps, self.config.flow_shift)
        self.sigmas = torch.from_numpy(np.append(grid, 0.0).astype(np.float32))
        self.timesteps = torch.from_numpy((grid * TRAIN_STEPS).astype(np.int64)).to(device=device)


def published_sigmas(steps: int, shift: float) -> np.ndarray:
    """Return the noise levels of `steps` sampler steps in falling order, without the final 0."""
    top, bottom = 1 - 1 / TRAIN_STEPS, 0.0
    grid = np.linspace(top, bottom, steps + 1)[:-1]
    return np.asarray(shift * grid / (1 + (shift - 1) * grid))


def make_scheduler(shift: float) -> PublishedUniPC:
    """Return the sampler's scheduler."""
    return PublishedUniPC(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift, num_train_timesteps=TRAIN_STEPS
    )
