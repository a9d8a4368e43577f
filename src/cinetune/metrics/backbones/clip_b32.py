"""CLIP ViT-B/32 of OpenAI: the network of CLIP-SIM and CLIP-FID."""

from pathlib import Path

import torch
from PIL import Image
from transformers import CLIPModel

from cinetune.metrics.backbones._contract import Backbone
from cinetune.metrics.backbones._transformers import Published
from cinetune.metrics.backbones._transformers_clip import TOKENIZER, ClipTowers, PublishedClip, load_clip, random_clip
from cinetune.metrics.backbones._transformers_view import OPENAI, View

CONFIG = {
    "projection_dim": 512,
    "text_config": {
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "vocab_size": 49408,
        "max_position_embeddings": 77,
        "hidden_act": "quick_gelu",
    },
    "vision_config": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "patch_size": 32,
        "image_size": 224,
        "hidden_act": "quick_gelu",
    },
}
"""Radford et al. 2021, table 20; 151,277,313 weights."""
VIEW = View(224, Image.Resampling.BICUBIC, OPENAI)
HUB = "openai/clip-vit-base-patch32@c237dc49a33fc61debc9276459120b7eac67e7ef"
"""The commit that adds model.safetensors to the repository (its pull request 15)."""
CLIP = PublishedClip(Published("clip_b32", CLIPModel, HUB, CONFIG, str(VIEW), more=TOKENIZER), VIEW)


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
    name="clip_b32",
    kind="clip",
    licence="MIT",
    source="Radford et al. 2021; openai/CLIP ViT-B/32",
    load=load,
    hub=HUB,
    random=lambda device: random(0, device),
)
