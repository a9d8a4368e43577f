"""Folders in transformers layout of the same classes as the published networks, on random weights and tiny."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from cinetune.metrics.backbones import clip_b32, dinov2, videomae, vjepa2
from cinetune.metrics.backbones._transformers import Published
from cinetune.metrics.backbones._transformers_clip import PublishedClip, byte_tokenizer
from cinetune.metrics.backbones._transformers_view import OPENAI, View

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
WORDS = 514
"""256 bytes, 256 bytes that end a word, start, end."""
CLIP_VIEW = View(32, Image.Resampling.BICUBIC, OPENAI)
CONFIGS: dict[str, dict[str, Any]] = {
    "clip_b32": {
        "projection_dim": 24,
        "text_config": {
            **clip_b32.CONFIG["text_config"],
            **SMALL,
            "intermediate_size": 64,
            "vocab_size": WORDS,
            "eos_token_id": WORDS - 1,
        },
        "vision_config": {
            **clip_b32.CONFIG["vision_config"],
            **SMALL,
            "intermediate_size": 64,
            "patch_size": 8,
            "image_size": 32,
        },
    },
    "dinov2": {**dinov2.CONFIG, **SMALL, "mlp_ratio": 2, "image_size": 70},
    "videomae": {**videomae.CONFIG, **SMALL, "intermediate_size": 64},
    "vjepa2": {
        **vjepa2.CONFIG,
        **SMALL,
        "mlp_ratio": 2,
        "pred_hidden_size": 32,
        "pred_num_hidden_layers": 1,
        "pred_num_attention_heads": 2,
    },
}
NETWORKS: Mapping[str, Published] = {
    "clip_b32": clip_b32.CLIP.network,
    "dinov2": dinov2.NETWORK,
    "videomae": videomae.NETWORK,
    "vjepa2": vjepa2.NETWORK,
}


def make_folder(name: str, folder: Path) -> Path:
    """Write weights, config and, for CLIP, the tokenizer as `save_pretrained` does."""
    network = NETWORKS[name]
    library: Any = network.model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = library(library.config_class.from_dict(CONFIGS[name]))
        for weight in model.parameters():  # as they start, these networks hardly tell one frame from another
            torch.nn.init.normal_(weight, mean=1 if weight.ndim == 1 else 0, std=0.15)
    model.save_pretrained(folder)
    if name == "clip_b32":
        byte_tokenizer(WORDS).save_pretrained(folder)
    return folder


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the four backbones expect the tiny networks."""
    small = replace(clip_b32.CLIP.network, config=CONFIGS["clip_b32"], preprocessing=str(CLIP_VIEW))
    monkeypatch.setattr(clip_b32, "CLIP", PublishedClip(small, CLIP_VIEW))
    for module in (dinov2, videomae, vjepa2):
        name = module.NETWORK.name
        monkeypatch.setattr(module, "NETWORK", replace(module.NETWORK, config=CONFIGS[name]))
