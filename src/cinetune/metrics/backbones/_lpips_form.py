"""LPIPS as published: unit-normalise channels, square the difference, weigh, average over space, sum over layers."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from cinetune.metrics.backbones._contract import Identity
from cinetune.metrics.backbones._pixels import frames_at_once, to_pixels

EPSILON = 1e-10
"""Added to the norm after the square root, as richzhang/PerceptualSimilarity does (torchmetrics adds it before)."""
BATCH = 16


class LpipsDistance(nn.Module):
    """sum over layers of mean over space of sum over channels of w_c (x_c / |x| - y_c / |y|)^2, w >= 0.

    Source: Zhang et al. 2018, eq. 1; richzhang/PerceptualSimilarity lpips/lpips.py, LPIPS.forward.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        trunk: nn.Module,
        channels: Sequence[int],
        shift: Sequence[float] = (0.0, 0.0, 0.0),
        scale: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> None:
        """Wrap a trunk that maps n 3 h w to one map for each entry of `channels`; the heads start at 1 / channels."""
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ParameterList([nn.Parameter(torch.full((c,), 1 / c)) for c in channels])
        self.register_buffer("shift", torch.tensor(shift).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(scale).view(1, 3, 1, 1), persistent=False)

    def forward(self, a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "n 3 h w"]) -> Float[Tensor, " n"]:
        """Return the distance of each two images, in -1..1; differentiable in both.

        Raises:
            ValueError: pixels outside -1..1, the usual sign of images in 0..255.
        """
        for image in (a, b):
            if image.detach().abs().amax() > 1.01:
                raise ValueError("LPIPS wants pixels in -1..1")
        total = a.new_zeros(len(a))
        for x, y, head in zip(self._maps(a), self._maps(b), self.heads, strict=True):
            total = total + ((x - y) ** 2 * head.view(1, -1, 1, 1)).sum(1).mean((1, 2))
        return total

    def _maps(self, images: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        maps = [m.float() for m in self.trunk((images - self.shift) / self.scale)]
        return [m / (m.square().sum(1, keepdim=True).sqrt() + EPSILON) for m in maps]


class LpipsEye:
    """An LPIPS network as metrics use it: frames in, distances out."""

    def __init__(self, identity: Identity, network: LpipsDistance, device: torch.device) -> None:
        """Take a loaded network to `device`."""
        self.identity = identity
        self.network = network.to(device)
        self._device = device

    @torch.inference_mode()
    def distances(self, a: UInt8[np.ndarray, "f h w 3"], b: UInt8[np.ndarray, "f h w 3"]) -> Float[np.ndarray, " f"]:
        """Return the distance of each two frames."""
        step = frames_at_once(a, BATCH, self._device)
        parts = [
            self.network(to_pixels(a[i : i + step], self._device), to_pixels(b[i : i + step], self._device))
            for i in range(0, len(a), step)
        ]
        return torch.cat(parts).float().cpu().numpy()
