"""DINOv2 ViT-B/14: what is in a frame, learnt without labels or captions.

Published video metrics look through the older DINO ViT-B/16 (VBench, subject consistency): numbers through this
network are not comparable with theirs.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from transformers import Dinov2Model

from cinetune.metrics.backbones import _transformers
from cinetune.metrics.backbones._contract import Backbone, Identity
from cinetune.metrics.backbones._exact import exact
from cinetune.metrics.backbones._transformers import BATCH, Published
from cinetune.metrics.backbones._transformers_view import IMAGENET, View

CONFIG = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "mlp_ratio": 4,
    "patch_size": 14,
    "image_size": 518,
    "hidden_act": "gelu",
    "use_swiglu_ffn": False,
}
"""facebook/dinov2-base config.json; 86,580,480 weights."""
VIEW = View(224, Image.Resampling.BICUBIC, IMAGENET, shorter=256)
"""facebook/dinov2-base preprocessor_config.json. The positions learnt at 518 pixels are interpolated to 224."""
HUB = "facebook/dinov2-base@f9e44c814b77203eaa57a6bdbbd535f21ede1415"
NETWORK = Published("dinov2", Dinov2Model, HUB, CONFIG, str(VIEW))


class Dinov2Eye:
    """Features: the class token after the last layer norm, 768 numbers."""

    def __init__(self, model: Any, identity: Identity, device: torch.device) -> None:
        """Take a loaded model to `device`."""
        self.identity = identity
        self._model = model.to(device)
        self._device = device

    @torch.inference_mode()
    def frames(self, frames: UInt8[np.ndarray, "f h w 3"]) -> Float[np.ndarray, "f d"]:
        """Return one vector a frame."""
        parts = []
        for i in range(0, len(frames), BATCH):
            with exact():
                parts.append(self._model(VIEW(frames[i : i + BATCH], self._device)).pooler_output)
        return np.asarray(torch.cat(parts).float().cpu().numpy())


def load(path: Path | None = None, device: torch.device = torch.device("cpu")) -> Dinov2Eye:  # noqa: B008
    """Load the folder at `path` in transformers layout, or the one of the hub.

    Raises:
        WeightsError: the folder is missing, damaged or holds another network.
    """
    return Dinov2Eye(*_transformers.load(NETWORK, path, device), device)


def random(seed: int, device: torch.device) -> Dinov2Eye:
    """Return the network on random weights, for measuring speed."""
    return Dinov2Eye(*_transformers.random(NETWORK, seed, device), device)


BACKBONE = Backbone(
    name="dinov2",
    kind="frames",
    licence="Apache-2.0",
    source="Oquab et al. 2023; facebookresearch/dinov2 ViT-B/14",
    load=load,
    hub=HUB,
    random=lambda device: random(0, device),
)
