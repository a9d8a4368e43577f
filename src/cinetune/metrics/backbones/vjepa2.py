"""V-JEPA 2 ViT-L/16: what happens in a video, learnt by predicting masked parts in feature space.

JEDi was published with the first V-JEPA, ViT-H/16, on 16 frames of 224 pixels, and takes what the attentive pooler of
a Something-Something v2 probe makes of the tokens (1280 numbers). Here the tokens of the encoder itself are averaged,
which is what JEDi does without the probe (oooolga/JEDi videojedi/V_JEPA.py, get_feats): another network and another
pooling, so the numbers are not comparable with published ones.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8
from PIL import Image
from transformers import VJEPA2Model

from cinetune.errors import MetricError
from cinetune.metrics.backbones import _transformers
from cinetune.metrics.backbones._contract import Backbone, Identity, too_short
from cinetune.metrics.backbones._exact import exact
from cinetune.metrics.backbones._transformers import VIDEOS, Published
from cinetune.metrics.backbones._transformers_view import IMAGENET, View, spread

MOST_FRAMES, TUBELET = 16, 2
"""Frames it looks at, as JEDi; the encoder itself takes any multiple of a tubelet."""
CONFIG = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "mlp_ratio": 4,
    "patch_size": 16,
    "tubelet_size": TUBELET,
    "crop_size": 256,
    "frames_per_clip": 64,
    "hidden_act": "gelu",
    "pred_hidden_size": 384,
    "pred_num_hidden_layers": 12,
    "pred_num_attention_heads": 12,
    "pred_num_mask_tokens": 10,
}
"""facebook/vjepa2-vitl-fpc64-256 config.json; 325,971,328 weights, of which the encoder has 303,885,312."""
VIEW = View(256, Image.Resampling.BILINEAR, IMAGENET, shorter=292)
"""Its video_preprocessor_config.json: 292 is 256 * 256 / 224 rounded down."""
PREPROCESSING = f"{MOST_FRAMES} frames evenly spaced (of fewer the greatest even number), {VIEW}"
HUB = "facebook/vjepa2-vitl-fpc64-256@b3c1679b7c34d3255ef3547f27c7b226aefab26f"
NETWORK = Published("vjepa2", VJEPA2Model, HUB, CONFIG, PREPROCESSING)


class Vjepa2Eye:
    """Features: the mean of the encoder's tokens after its last layer norm, 1024 numbers."""

    least_frames = TUBELET

    def __init__(self, model: Any, identity: Identity, device: torch.device) -> None:
        """Take the encoder of a loaded model to `device`; its predictor is let go."""
        self.identity = identity
        self._encoder = model.encoder.to(device)
        self._device = device
        self.at_once = VIDEOS if device.type == "cuda" else 1

    def video(self, frames: UInt8[np.ndarray, "f h w 3"]) -> Float[np.ndarray, " d"]:
        """Return one vector for the whole video.

        Raises:
            MetricError: a single frame.
        """
        return np.asarray(self.videos([frames])[0])

    @torch.inference_mode()
    def videos(self, videos: Sequence[UInt8[np.ndarray, "f _h _w 3"]]) -> Float[np.ndarray, "n d"]:
        """Return the vector of each video; all have the same number of frames.

        Raises:
            MetricError: a single frame.
        """
        if reason := too_short(self, min(map(len, videos))):
            raise MetricError(reason)
        parts = []
        for i in range(0, len(videos), self.at_once):
            chosen = [frames[self._positions(len(frames))] for frames in videos[i : i + self.at_once]]
            with exact():
                tokens = self._encoder(torch.stack([VIEW(frames, self._device) for frames in chosen]))
            parts.append(tokens.last_hidden_state.mean(1))
        return np.asarray(torch.cat(parts).float().cpu().numpy())

    @staticmethod
    def _positions(total: int) -> Integer[np.ndarray, " n"]:
        return spread(total, min(MOST_FRAMES, total) // TUBELET * TUBELET)


def load(path: Path | None = None, device: torch.device = torch.device("cpu")) -> Vjepa2Eye:  # noqa: B008
    """Load the folder at `path` in transformers layout, or the one of the hub.

    Raises:
        WeightsError: the folder is missing, damaged or holds another network.
    """
    return Vjepa2Eye(*_transformers.load(NETWORK, path, device), device)


def random(seed: int, device: torch.device) -> Vjepa2Eye:
    """Return the network on random weights, for measuring speed."""
    return Vjepa2Eye(*_transformers.random(NETWORK, seed, device), device)


BACKBONE = Backbone(
    name="vjepa2",
    kind="video",
    licence="MIT",
    source="Assran et al. 2025; facebookresearch/vjepa2 ViT-L/16",
    load=load,
    hub=HUB,
    random=lambda device: random(0, device),
)
