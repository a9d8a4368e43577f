"""Wan's decoder alone: latents in, pixels out."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cinetune.models._contract import Latents, Pixels


@dataclass(frozen=True)
class WanDecoder:
    """The VAE as a decoder. It comes to `device` when it decodes, and stays there until it is told to rest."""

    vae: Any
    device: torch.device

    @torch.no_grad()
    def decode(self, latents: Latents) -> Pixels:
        """Return pixels, clamped to -1..1."""
        vae = self.vae.to(self.device)
        mean, std = statistics(vae, latents.to(self.device))
        decoded = vae.decode((latents.to(self.device) * std + mean).to(vae.dtype)).sample
        pixels: Tensor = decoded.float().clamp(-1, 1).cpu()
        return pixels

    def rest(self) -> None:
        """Move the weights to host memory, and give back what decoding took of a GPU."""
        self.vae.to("cpu")
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def statistics(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation by which a VAE's latents are normalised, to be broadcast over `like`."""
    shape = (1, -1, 1, 1, 1)
    mean = torch.tensor(vae.config.latents_mean, device=like.device).view(shape)
    std = torch.tensor(vae.config.latents_std, device=like.device).view(shape)
    return mean, std
