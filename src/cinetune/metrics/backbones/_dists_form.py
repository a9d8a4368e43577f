"""DISTS as published: means of maps say how alike the textures are, covariances how alike the structures."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from cinetune.metrics.backbones._contract import Identity
from cinetune.metrics.backbones._pixels import frames_at_once, to_pixels

C = 1e-6
"""Keeps the ratios finite; c1 and c2 of the published code."""
SIDE = 256
"""Pixels of the shorter side to which larger frames are reduced (DISTS_pt.py, prepare_image)."""
PREPROCESSING = f"antialiased bilinear to a shorter side of {SIDE} where it is larger, 0..1"
BATCH = 8


class DistsDistance(nn.Module):
    """1 - sum over maps and channels of alpha l(x, y) + beta s(x, y), the weights summing to 1.

    l = (2 mx my + C) / (mx^2 + my^2 + C) and s = (2 cov + C) / (vx + vy + C), over all places of one channel. The
    frame itself is the first map.

    Source: Ding et al. 2020, sec. 3; dingkeyan93/DISTS DISTS_pytorch/DISTS_pt.py.
    """

    def __init__(self, trunk: nn.Module, channels: Sequence[int]) -> None:
        """Wrap a trunk that maps n 3 h w, 0..1, to a map for each of `channels`; all weights start equal."""
        super().__init__()
        self.trunk = trunk
        self.channels = (3, *channels)
        self.alpha = nn.Parameter(torch.ones(sum(self.channels)))
        self.beta = nn.Parameter(torch.ones(sum(self.channels)))

    def forward(self, a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "n 3 h w"]) -> Float[Tensor, " n"]:
        """Return the distance of each two images, in 0..1."""
        texture, structure = [], []
        for x, y in zip([a, *self.trunk(a)], [b, *self.trunk(b)], strict=True):
            x, y = x.float(), y.float()
            mx, my = (m.mean((2, 3), keepdim=True) for m in (x, y))
            dx, dy = x - mx, y - my
            covariance, vx, vy = ((p * q).mean((2, 3)) for p, q in ((dx, dy), (dx, dx), (dy, dy)))
            texture.append(((2 * mx * my + C) / (mx * mx + my * my + C)).flatten(1))
            structure.append((2 * covariance + C) / (vx + vy + C))
        alike = (torch.cat(texture, 1) * self.alpha).sum(1) + (torch.cat(structure, 1) * self.beta).sum(1)
        distance: Tensor = 1 - alike / (self.alpha.sum() + self.beta.sum())
        return distance


class DistsEye:
    """A DISTS network as metrics use it: frames in, distances out."""

    def __init__(self, identity: Identity, network: DistsDistance, device: torch.device) -> None:
        """Take a loaded network to `device`."""
        self.identity = identity
        self.network = network.to(device)
        self._device = device

    @torch.inference_mode()
    def distances(self, a: UInt8[np.ndarray, "f h w 3"], b: UInt8[np.ndarray, "f h w 3"]) -> Float[np.ndarray, " f"]:
        """Return the distance of each two frames; rounding below 0 is 0."""
        step = frames_at_once(a, BATCH, self._device)
        parts = [
            self.network(self._prepared(a[i : i + step]), self._prepared(b[i : i + step]))
            for i in range(0, len(a), step)
        ]
        return torch.cat(parts).clamp(min=0).float().cpu().numpy()

    def _prepared(self, frames: UInt8[np.ndarray, "f _h _w 3"]) -> Float[Tensor, "f 3 h w"]:
        pixels = (to_pixels(frames, self._device) + 1) / 2
        short = min(pixels.shape[-2:])
        if short <= SIDE:
            return pixels
        height, width = (int(size * SIDE / short) for size in pixels.shape[-2:])  # cut off, as torchvision does
        return F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
