"""R-LPIPS: LPIPS on AlexNet whose heads, or trunk and heads, were trained on attacks (Ghazanfari et al. 2023)."""

import re
from pathlib import Path

import torch
from torch import Tensor

from cinetune.errors import WeightsError
from cinetune.files import sha256
from cinetune.metrics.backbones import _random, _weights
from cinetune.metrics.backbones._contract import Backbone, Identity
from cinetune.metrics.backbones._lpips_form import LpipsDistance, LpipsEye
from cinetune.metrics.backbones._published_lpips import SCALE, SHIFT
from cinetune.metrics.backbones.lpips_alex import CHANNELS, AlexNetTrunk

PREPROCESSING = "own size, -1..1"
OBTAIN = "latest_net_.pth of SaraGhazanfari/R-LPIPS, or any state_dict of LPIPS(net='alex')"


def load(path: Path | None, device: torch.device = torch.device("cpu")) -> LpipsEye:  # noqa: B008
    """Load the state_dict of a whole LPIPS(net='alex') at `path`: .pth or .safetensors.

    Raises:
        WeightsError: no path, or the file is missing, damaged or does not fit.
    """
    if path is None:
        raise WeightsError(f"rlpips: give the path of its weights: {OBTAIN}")
    network = LpipsDistance(AlexNetTrunk(), CHANNELS, SHIFT, SCALE)
    _weights.fill(network, _own_names(_weights.read(path), path), path)
    return LpipsEye(Identity("rlpips", "0.1", PREPROCESSING, sha256(path)), network, device)


def random(device: torch.device) -> LpipsEye:
    """Return the network on seeded random weights, heads >= 0."""
    network = _random.randomised(LpipsDistance(AlexNetTrunk(), CHANNELS, SHIFT, SCALE))
    for head in network.heads:
        head.abs_()
    return LpipsEye(_random.random_identity("rlpips", "0.1", PREPROCESSING, network), network, device)


def _own_names(published: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the tensors by our names. The published state_dict holds each head twice, and may hold the scaling.

    Raises:
        WeightsError: a name that LPIPS does not have, or two copies that differ.
    """
    tensors: dict[str, Tensor] = {}
    fixed = {"scaling_layer.shift": SHIFT, "scaling_layer.scale": SCALE}
    for name, value in published.items():
        if name in fixed:
            if not torch.allclose(value.flatten(), torch.tensor(fixed[name])):
                raise WeightsError(f"{path}: {name} is not that of LPIPS v0.1; give {OBTAIN}")
            continue
        if found := re.fullmatch(r"net\.slice[1-5]\.(\d+)\.(weight|bias)", name):
            own = f"trunk.features.{found[1]}.{found[2]}"
        elif found := re.fullmatch(r"(?:lin|lins\.)(\d)\.model\.1\.weight", name):
            own, value = f"heads.{found[1]}", value.flatten()
        else:
            raise WeightsError(f"{path}: LPIPS has no {name}; give {OBTAIN}")
        if own in tensors and not torch.equal(tensors[own], value):
            raise WeightsError(f"{path}: {name} differs from its copy; get the file again")
        tensors[own] = value
    return tensors


BACKBONE = Backbone(
    name="rlpips",
    kind="pair",
    licence="none stated by SaraGhazanfari/R-LPIPS; BSD-2-Clause (LPIPS)",
    source="Ghazanfari et al. 2023; SaraGhazanfari/R-LPIPS lpips/lpips.py",
    load=load,
    obtain=OBTAIN,
    random=random,
)
