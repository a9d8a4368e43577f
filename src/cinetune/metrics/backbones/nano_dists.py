"""The package's own structure and texture distance: DISTS in its published form on the trunk of `nano_frames`.

Nothing was learnt for it: every channel weighs the same, and the trunk halves by strides instead of smooth pooling,
so it forgives a shift less than the published one does.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cinetune.files import sha256
from cinetune.metrics.backbones import _weights
from cinetune.metrics.backbones._contract import Backbone, Identity
from cinetune.metrics.backbones._dists_form import PREPROCESSING, DistsDistance, DistsEye
from cinetune.metrics.backbones._nano_trunk import WIDTHS, NanoTrunk


class Centred(nn.Module):
    """A trunk that wants pixels in -1..1, for pixels in 0..1."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        maps: list[Tensor] = self.trunk(2 * x - 1)
        return maps


def load(path: Path | None = None, device: torch.device = torch.device("cpu")) -> DistsEye:  # noqa: B008
    """Load the weights of `nano_frames` at `path`, or those in the package.

    Raises:
        WeightsError: missing, damaged or not of this network.
    """
    path = path or _weights.shipped("nano_frames.safetensors")
    trunk = _weights.fill(NanoTrunk(), _weights.read(path), path)
    network = DistsDistance(Centred(trunk), WIDTHS).eval().requires_grad_(False)
    return DistsEye(Identity("nano_dists", "1", PREPROCESSING, sha256(path)), network, device)


BACKBONE = Backbone(
    name="nano_dists",
    kind="pair",
    licence="Apache-2.0",
    source="Ding et al. 2020, all channels alike, on the trunk of nano_frames",
    load=load,
)
