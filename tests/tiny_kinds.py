"""Folders of every kind of Wan, as published, around the encoders of the tiny model."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel as Network

from cinetune.models._wan import WanModel

KINDS = ("t2v", "ti2v", "two experts", "t2v of two experts", "first and last")
BOUNDARY = {"two experts": 0.9, "t2v of two experts": 0.875}
TOKENS = 17
"""Of the tiny image encoder: 4 x 4 patches and one for the class."""


def network(seed: int, **changes: Any) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = Network(**{
            "num_attention_heads": 2, "attention_head_dim": 24, "in_channels": 36, "out_channels": 16, "text_dim": 64,
            "freq_dim": 32, "ffn_dim": 64, "num_layers": 2, "rope_max_seq_len": 64, **changes,
        })  # fmt: skip
        for name, weight in made.named_parameters():
            if weight.ndim == 1 or name.endswith("pos_embed"):
                weight.data.normal_(std=0.3)
    return made


def build(tiny: WanModel, folder: Path, kind: str) -> WanModel:
    """A folder as published: the tiny model's encoders and networks of the kind."""
    shutil.copytree(tiny.folder, folder)
    shutil.rmtree(folder / "transformer")
    index = json.loads((folder / "model_index.json").read_text())
    if kind == "first and last":
        network(1, image_dim=96, added_kv_proj_dim=48, pos_embed_seq_len=2 * TOKENS).save_pretrained(
            folder / "transformer"
        )
    else:
        for part in ("image_encoder", "image_processor"):
            shutil.rmtree(folder / part)
            index[part] = [None, None]
        channels = 36 if kind == "two experts" else 16
        network(1, in_channels=channels).save_pretrained(folder / "transformer")
        index["expand_timesteps"] = kind == "ti2v"
        index["_class_name"] = "WanPipeline" if kind.startswith("t2v") else "WanImageToVideoPipeline"
    if kind in BOUNDARY:
        network(2, in_channels=channels).save_pretrained(folder / "transformer_2")
        index |= {"transformer_2": ["diffusers", "WanTransformer3DModel"], "boundary_ratio": BOUNDARY[kind]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return WanModel(name=kind, source=str(folder))
