"""VideoMAE ViT-B finetuned on Something-Something v2, whose classes are told by motion and hardly by looks.

Content-debiased FVD was published with VideoMAE v2 ViT-g (1.0 billion weights, 1408 features, finetuned on the same
data), which transformers has no class for. The features here are taken at the same place, of a network one tenth the
size (87 million weights, 768 features): the idea is the same, the numbers are not comparable.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from transformers import VideoMAEForVideoClassification

from cinetune.errors import MetricError
from cinetune.metrics.backbones import _transformers
from cinetune.metrics.backbones._contract import Backbone, Identity, too_short
from cinetune.metrics.backbones._exact import exact
from cinetune.metrics.backbones._transformers import VIDEOS, Published
from cinetune.metrics.backbones._transformers_view import IMAGENET, View, spread

FRAMES = 16
CONFIG = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "patch_size": 16,
    "tubelet_size": 2,
    "image_size": 224,
    "num_frames": FRAMES,
    "hidden_act": "gelu",
    "qv_bias": True,
    "use_mean_pooling": True,
    "num_labels": 174,
}
"""MCG-NJU/videomae-base-finetuned-ssv2 config.json; 86,361,006 weights with the classifier, which is not used."""
VIEW = View(224, Image.Resampling.BILINEAR, IMAGENET)
"""MCG-NJU/videomae-base-finetuned-ssv2 preprocessor_config.json. Content-debiased FVD leaves mean and deviation out."""
PREPROCESSING = f"{FRAMES} frames evenly spaced, {VIEW}"
HUB = "MCG-NJU/videomae-base-finetuned-ssv2@refs/pr/1"
"""The pull request that adds model.safetensors to the repository."""
NETWORK = Published("videomae", VideoMAEForVideoClassification, HUB, CONFIG, PREPROCESSING)


class VideoMaeEye:
    """Features: the mean of all tokens after `fc_norm`, what the classifier would get; 768 numbers."""

    least_frames = FRAMES

    def __init__(self, model: Any, identity: Identity, device: torch.device) -> None:
        """Take a loaded model to `device`."""
        self.identity = identity
        self._model = model.to(device)
        self._device = device
        self.at_once = VIDEOS if device.type == "cuda" else 1

    def video(self, frames: UInt8[np.ndarray, "f h w 3"]) -> Float[np.ndarray, " d"]:
        """Return one vector for the whole video, of 16 evenly spaced frames.

        Raises:
            MetricError: fewer than 16 frames.
        """
        return np.asarray(self.videos([frames])[0])

    @torch.inference_mode()
    def videos(self, videos: Sequence[UInt8[np.ndarray, "_f _h _w 3"]]) -> Float[np.ndarray, "n d"]:
        """Return the vector of each video.

        Raises:
            MetricError: fewer than 16 frames.
        """
        if reason := too_short(self, min(map(len, videos))):
            raise MetricError(reason)
        parts = []
        for i in range(0, len(videos), self.at_once):
            chosen = [frames[spread(len(frames), FRAMES)] for frames in videos[i : i + self.at_once]]
            with exact():
                tokens = self._model.videomae(torch.stack([VIEW(frames, self._device) for frames in chosen]))
            parts.append(self._model.fc_norm(tokens.last_hidden_state.mean(1)))
        return np.asarray(torch.cat(parts).float().cpu().numpy())


def load(path: Path | None = None, device: torch.device = torch.device("cpu")) -> VideoMaeEye:  # noqa: B008
    """Load the folder at `path` in transformers layout, or the one of the hub.

    Raises:
        WeightsError: the folder is missing, damaged or holds another network.
    """
    return VideoMaeEye(*_transformers.load(NETWORK, path, device), device)


def random(seed: int, device: torch.device) -> VideoMaeEye:
    """Return the network on random weights, for measuring speed."""
    return VideoMaeEye(*_transformers.random(NETWORK, seed, device), device)


BACKBONE = Backbone(
    name="videomae",
    kind="video",
    licence="CC-BY-NC-4.0",
    source="Tong et al. 2022; MCG-NJU/VideoMAE ViT-B, Something-Something v2",
    load=load,
    hub=HUB,
    random=lambda device: random(0, device),
)
