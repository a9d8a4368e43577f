"""CLIP ViT-L/14 at 336 pixels of OpenAI. CMMD looks through it with another crop: `clip_l14_336_cmmd`."""

from pathlib import Path

import torch
from PIL import Image
from transformers import CLIPModel

from cinetune.metrics.backbones._contract import Backbone
from cinetune.metrics.backbones._transformers import PICKLED, Published
from cinetune.metrics.backbones._transformers_clip import TOKENIZER, ClipTowers, PublishedClip, load_clip, random_clip
from cinetune.metrics.backbones._transformers_view import OPENAI, View

CONFIG = {
    "projection_dim": 768,
    "text_config": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "vocab_size": 49408,
        "max_position_embeddings": 77,
        "hidden_act": "quick_gelu",
    },
    "vision_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "patch_size": 14,
        "image_size": 336,
        "hidden_act": "quick_gelu",
    },
}
"""Radford et al. 2021, table 20; 427,944,193 weights."""
VIEW = View(336, Image.Resampling.BICUBIC, OPENAI)
HUB = "openai/clip-vit-large-patch14-336@ce19dc912ca5cd21c8a653c79e251e808ccabcd1"
"""Its weights are pytorch_model.bin alone."""
CLIP = PublishedClip(
    Published("clip_l14_336", CLIPModel, HUB, CONFIG, str(VIEW), weights=PICKLED, more=TOKENIZER), VIEW
)


def load(path: Path | None = None, device: torch.device = torch.device("cpu")) -> ClipTowers:  # noqa: B008
    """Load the folder at `path` in transformers layout, tokenizer included, or the one of the hub.

    Raises:
        WeightsError: the folder is missing, damaged or holds another network.
    """
    return load_clip(CLIP, path, device)


def random(seed: int, device: torch.device) -> ClipTowers:
    """Return the network on random weights, for measuring speed; it reads text byte by byte."""
    return random_clip(CLIP, seed, device)


BACKBONE = Backbone(
    name="clip_l14_336",
    kind="clip",
    licence="MIT",
    source="Radford et al. 2021; openai/CLIP ViT-L/14@336px",
    load=load,
    hub=HUB,
    random=lambda device: random(0, device),
)
