"""The package's own perceptual distance: LPIPS in its published form on the trunk of `nano_frames`.

The heads learnt that of two distortions of one kind the stronger is the farther. Their scale is set so that two
unrelated rendered frames are 0.7 apart on average, near what LPIPS alex gives for unrelated photographs.
"""

from pathlib import Path

import torch

from cinetune.files import sha256
from cinetune.metrics.backbones import _weights
from cinetune.metrics.backbones._contract import Backbone, Identity
from cinetune.metrics.backbones._lpips_form import LpipsDistance, LpipsEye
from cinetune.metrics.backbones._nano_trunk import WIDTHS, NanoTrunk

__all__ = ["BACKBONE", "LpipsDistance", "load", "network"]


def network() -> LpipsDistance:
    """Return the network, not yet trained."""
    return LpipsDistance(NanoTrunk(), WIDTHS)


def load(path: Path | None = None, device: torch.device = torch.device("cpu")) -> LpipsEye:  # noqa: B008
    """Load the weights at `path`, or those in the package. `.network` is the differentiable distance.

    Raises:
        WeightsError: missing, damaged or not of this network.
    """
    path = path or _weights.shipped("nano_lpips.safetensors")
    filled = _weights.fill(network(), _weights.read(path), path)
    return LpipsEye(Identity("nano_lpips", "1", "own size, -1..1", sha256(path)), filled, device)


BACKBONE = Backbone(
    name="nano_lpips",
    kind="pair",
    licence="Apache-2.0",
    source="cinetune/nano/backbones.py, on rendered films",
    load=load,
)
