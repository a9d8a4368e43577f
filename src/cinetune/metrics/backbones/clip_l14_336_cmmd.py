"""CLIP ViT-L/14 at 336 pixels as CMMD looks through it: the crop comes before the resize.

On a frame that is not square this is not what CLIP's own preprocessing gives: there the longer side is rounded down
to whole pixels, and the crop is cut from that. CMMD makes unit vectors of the features itself.
"""

from dataclasses import replace
from pathlib import Path

import torch

from cinetune.metrics.backbones import clip_l14_336
from cinetune.metrics.backbones._contract import Backbone
from cinetune.metrics.backbones._transformers_clip import ClipTowers, PublishedClip, load_clip, random_clip

VIEW = replace(clip_l14_336.VIEW, square_first=True)
CLIP = PublishedClip(
    replace(clip_l14_336.CLIP.network, name="clip_l14_336_cmmd", preprocessing=str(VIEW)),
    VIEW,
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
    name="clip_l14_336_cmmd",
    kind="clip",
    licence="MIT",
    source="Jayasumana et al. 2024, section 4; google-research/cmmd io_util.py, _center_crop_and_resize",
    load=load,
    hub=clip_l14_336.HUB,
    random=lambda device: random(0, device),
)
