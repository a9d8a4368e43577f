"""Validation that decides: sample held-out first frames and compare with what really followed, by LPIPS.

The same clips, the same noise and the same flow-loss draws every time, so that two validations differ by the
adapter alone. The baselines (the base model, and the first frame held still) are measured once.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from cinetune import plugins
from cinetune.adapters import lora
from cinetune.footage.video_io import read_video
from cinetune.metrics._contract import Item, ItemMetric
from cinetune.metrics.backbones._resolve import resolve
from cinetune.models._contract import VideoModel
from cinetune.models._sampling import draw_noise, sample
from cinetune.ops import flow
from cinetune.ops.statistics import bootstrap_mean
from cinetune.ops.video import to_frames
from cinetune.recipe import Recipe
from cinetune.train.data import Cached, collate, to_device

SIGMAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Noise levels of the held-out flow loss."""
BATCH = 4
"""Clips sampled together."""


@dataclass(frozen=True)
class Reading:
    """One validation."""

    lpips: float
    """Mean over the clips of the mean over frames 2..end."""
    low: float
    high: float
    """Ends of the 95 % bootstrap interval over the clips."""
    loss: float
    """Flow loss, mean over clips and SIGMAS."""
    clips: int


class Validator:
    """Holds what stays the same from one validation to the next."""

    def __init__(self, run: Path, recipe: Recipe, model: VideoModel, held_out: Cached, device: torch.device) -> None:
        """Take the first `validation.clips` clips of `held_out`, spread evenly."""
        count = min(recipe.validation.clips, len(held_out.items))
        self.pick = sorted({int(i) for i in np.linspace(0, len(held_out.items) - 1, count)})
        self.held_out, self.recipe, self.model, self.device = held_out, recipe, model, device
        self.truth = [read_video(run / "footage" / held_out.clips[n].video)[0] for n in self.pick]
        self.lpips: ItemMetric = plugins.load("metrics", "lpips")
        self.eye = resolve("lpips", recipe.evaluate.weights, {}, device)
        self.encoders = model.load_encoders(device)

    def measure(self, network: nn.Module) -> Reading:
        """Sample, compare, and measure the held-out flow loss; the network is left in training mode."""
        network.eval()
        distances = np.array([self._distance(v, t) for v, t in zip(self._videos(network), self.truth, strict=True)])
        low, high = bootstrap_mean(distances, level=0.95, resamples=1000, seed=self.recipe.seed)
        loss = self._flow_loss(network)
        network.train()
        return Reading(float(distances.mean()), low, high, loss, len(self.pick))

    def baselines(self, network: nn.Module) -> dict[str, float]:
        """Return the LPIPS of the base model and of the first frame held still."""
        with lora.disabled(network):
            base = self.measure(network).lpips
        still = [self._distance(np.repeat(truth[:1], len(truth), axis=0), truth) for truth in self.truth]
        return {"base": base, "static": float(np.mean(still))}

    def _videos(self, network: nn.Module) -> list[UInt8[np.ndarray, "f h w 3"]]:
        settings, videos = self.recipe.validation, []
        for start in range(0, len(self.pick), BATCH):
            pick = self.pick[start : start + BATCH]
            latents, condition = collate(self.held_out, pick, *_keep_all(len(pick)))
            noise = torch.stack([draw_noise(tuple(latents.shape[1:]), self.recipe.seed + n) for n in pick])
            made = sample(
                self.model, network, to_device(condition, self.device), noise.to(self.device),
                steps=settings.steps, shift=self.recipe.generate.shift, guidance=settings.guidance,
                negative=self.held_out.empty.to(self.device),
            )  # fmt: skip
            videos += [to_frames(pixels) for pixels in self.encoders.decode(made)]
        return videos

    def _distance(self, video: UInt8[np.ndarray, "f h w 3"], truth: UInt8[np.ndarray, "f h w 3"]) -> float:
        features = self.lpips.look.features(Item(frames=video, reference=truth, caption=""), self.eye)
        value = self.lpips.score(features).value
        assert value is not None  # both videos have the recipe's size
        return value

    @torch.no_grad()
    def _flow_loss(self, network: nn.Module) -> float:
        """The training loss on held-out clips, at fixed noise and fixed noise levels."""
        losses = []
        for n in self.pick:
            latents, condition = collate(self.held_out, [n] * len(SIGMAS), *_keep_all(len(SIGMAS)))
            noise = draw_noise(tuple(latents.shape[1:]), 7919 + n).expand_as(latents)
            sigma: Float[Tensor, " b"] = torch.tensor(SIGMAS)
            noisy = flow.interpolate(latents, noise, sigma).to(self.device)
            predicted = self.model.velocity(network, noisy, sigma.to(self.device), to_device(condition, self.device))
            losses.append((predicted.cpu() - flow.velocity(latents, noise)).square().mean().item())
        return float(np.mean(losses))


def _keep_all(count: int) -> tuple[Tensor, Tensor]:
    none = torch.zeros(count, dtype=torch.bool)
    return none, none
