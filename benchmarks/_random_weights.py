"""Seeded random weights in the files that the published ones come in, so that every tool loads them in its own way."""

from collections.abc import Iterable
from pathlib import Path

import torch

from cinetune.metrics.backbones import lpips_alex
from cinetune.metrics.backbones._i3d import I3d
from cinetune.metrics.backbones._inception import FidInception
from cinetune.metrics.backbones._published_lpips import build
from cinetune.metrics.backbones._random import randomised

CPU = torch.device("cpu")
TRUNK, HEADS = "alexnet-owt-7be5be79.pth", "alex.pth"


def write(folder: Path, backbones: Iterable[str], seed: int) -> dict[str, Path]:
    """Write the weights of the backbones; return their paths by name."""
    makers = {
        "i3d_stylegan_v": _i3d,
        "inception_tf": _inception,
        "clip_b32": _clip,
        "lpips_alex": _lpips,
    }
    folder.mkdir(parents=True, exist_ok=True)
    return {name: makers[name](folder, seed) for name in backbones}


def _i3d(folder: Path, seed: int) -> Path:
    torch.save(randomised(I3d(), seed).state_dict(), folder / "i3d.pt")
    return folder / "i3d.pt"


def _inception(folder: Path, seed: int) -> Path:
    torch.save(randomised(FidInception(), seed).state_dict(), folder / "inception.pth")
    return folder / "inception.pth"


def _lpips(folder: Path, seed: int) -> Path:
    network = randomised(build(lpips_alex.TRUNK), seed)
    inside = folder / "lpips"
    inside.mkdir(exist_ok=True)
    torch.save(network.trunk.state_dict(), inside / TRUNK)
    heads = {f"lin{i}.model.1.weight": head.abs().view(1, -1, 1, 1) for i, head in enumerate(network.heads)}
    torch.save(heads, inside / HEADS)
    return inside


def _clip(folder: Path, seed: int) -> Path:
    from cinetune.metrics.backbones import _transformers, clip_b32
    from cinetune.metrics.backbones._transformers_clip import byte_tokenizer
    from cinetune.models._quiet import quiet

    inside = folder / "clip"
    model, _ = _transformers.random(clip_b32.CLIP.network, seed, CPU)
    with quiet():
        model.save_pretrained(inside)
    byte_tokenizer(model.config.text_config.vocab_size).save_pretrained(inside)
    return inside
