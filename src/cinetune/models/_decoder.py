"""Wan's decoder alone: latents in, pixels out."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed

from cinetune.models._contract import Latents, Pixels
from cinetune.models._tiles import choose_tiles, decode_parallel, decode_tiles


@dataclass(frozen=True)
class WanDecoder:
    """The VAE as a decoder. It comes to `device` when it decodes, and stays there until it is told to rest."""

    vae: Any
    device: torch.device
    tiles: int = 1
    """How many tiles a video is decoded in: more take less memory and more time, and give the same pixels to rounding.
    With a group, one for each process where that is more."""
    group: distributed.ProcessGroup | None = None
    """Processes that all decode the same latents and share the tiles; each gets the whole video."""

    @torch.no_grad()
    def decode(self, latents: Latents) -> Pixels:
        """Return pixels, clamped to -1..1.

        Raises:
            RecipeError: so many tiles do not fit the latents.
            RunError: another process of the group could not decode its tiles.
            WeightsError: the VAE cannot be cut into tiles.
        """
        vae = self.vae.to(self.device)
        mean, std = statistics(vae, latents.to(self.device))
        decoded = self._decode((latents.to(self.device) * std + mean).to(vae.dtype))
        return decoded.float().clamp(-1, 1).cpu()

    def rest(self) -> None:
        """Move the weights to host memory, and give back what decoding took of a GPU."""
        self.vae.to("cpu")
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _decode(self, latents: Tensor) -> Tensor:
        ranks = 1 if self.group is None else distributed.get_world_size(self.group)
        if max(ranks, self.tiles) == 1:
            decoded: Tensor = self.vae.decode(latents).sample
            return decoded
        grid = choose_tiles(self.vae, latents, max(ranks, self.tiles))
        if ranks == 1:
            return decode_tiles(self.vae, latents, grid)
        return decode_parallel(self.vae, latents, grid, self.group)


def statistics(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation by which a VAE's latents are normalised, to be broadcast over `like`."""
    shape = (1, -1, 1, 1, 1)
    mean = torch.tensor(vae.config.latents_mean, device=like.device).view(shape)
    std = torch.tensor(vae.config.latents_std, device=like.device).view(shape)
    return mean, std
