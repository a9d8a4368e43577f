"""What the usual tools do, written anew in the plainest way: a network as published, and numpy for the statistics.

Networks keep their batch normalisation and the memory layout of a default install, and every function decodes for
itself. These stand in where the tools are not installed; no number of theirs is a number of the tools.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from _clips import Clips, Decoder
from _random_weights import HEADS, TRUNK
from scipy.linalg import sqrtm
from torch import nn
from torch.nn import functional as F

from cinetune.metrics._frame_set import picked
from cinetune.metrics.backbones._i3d import I3d
from cinetune.metrics.backbones._inception import FidInception
from cinetune.metrics.backbones._pixels import tf1_bilinear

Numbers = dict[str, float]
VIDEOS, FRAMES = 4, 16
"""That go through a network at once; few enough for 720p."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""lpips/lpips.py, ScalingLayer."""


@torch.no_grad()
def fvd(clips: Clips, weights: Path, decode: Decoder) -> Numbers:
    """FVD as cd-fvd: plain bilinear resize, covariances over n, scipy's square root."""
    network = _filled(I3d(), weights)
    sets = []
    for paths in (clips.generated, clips.real):
        logits = []
        for i in range(0, len(paths), VIDEOS):
            videos = np.stack([decode(path) for path in paths[i : i + VIDEOS]])
            pixels = torch.from_numpy(videos).flatten(0, 1).permute(0, 3, 1, 2).float().contiguous()
            pixels = F.interpolate(pixels, (224, 224), mode="bilinear", align_corners=False) / 127.5 - 1
            pixels = pixels.reshape(*videos.shape[:2], 3, 224, 224).transpose(1, 2).contiguous()
            logits.append(network(pixels))
        sets.append(torch.cat(logits).double().numpy())
    (mean, spread), (true_mean, true_spread) = ((x.mean(0), np.cov(x, rowvar=False, bias=True)) for x in sets)
    root = sqrtm(spread @ true_spread)
    return {"fvd": float(np.square(mean - true_mean).sum() + np.trace(spread + true_spread - 2 * root.real))}


@torch.no_grad()
def fid_and_kid(clips: Clips, weights: Path, decode: Decoder) -> Numbers:
    """FID and KID as torch-fidelity: one pass for both, eigenvalues of the product, 100 subsets of at most 1,000."""
    network = _filled(FidInception(), weights)
    sets = []
    for paths in (clips.generated, clips.real):
        parts = []
        for path in paths:
            pixels = torch.from_numpy(picked(decode(path))).permute(0, 3, 1, 2)
            parts.append(network((tf1_bilinear(pixels, 299) - 128) / 128))
        sets.append(torch.cat(parts).numpy())
    (mean, spread), (true_mean, true_spread) = ((x.mean(0), np.cov(x, rowvar=False)) for x in sets)
    roots = np.sqrt(np.linalg.eigvals(spread @ true_spread).astype(complex)).real.sum()
    fid = float(np.square(mean - true_mean).sum() + np.trace(spread) + np.trace(true_spread) - 2 * roots)
    rng, size = np.random.default_rng(0), min(1000, len(sets[0]))
    kids = [_mmd(*(x[rng.choice(len(x), size, replace=False)] for x in sets)) for _ in range(100)]
    return {"fid": fid, "kid": float(np.mean(kids))}


@torch.no_grad()
def lpips(clips: Clips, weights: Path, decode: Decoder) -> Numbers:
    """LPIPS as the loops around the package lpips: one pair of frames at a time, without frame 0, which was given."""
    trunk = alexnet(weights)
    heads = torch.load(weights / HEADS)
    shift, scale = (torch.tensor(values).view(1, 3, 1, 1) for values in (SHIFT, SCALE))
    values = []
    for own, true in zip(clips.generated, clips.real, strict=True):
        for pair in zip(decode(own)[1:], decode(true)[1:], strict=True):
            images = [torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 127.5 - 1 for frame in pair]
            maps = [_maps(trunk, (image - shift) / scale) for image in images]
            layers = zip(*maps, heads.values(), strict=True)
            values.append(sum(F.conv2d((x - y) ** 2, head).mean().item() for x, y, head in layers))
    return {"lpips": float(np.mean(values))}


@torch.no_grad()
def clip(clips: Clips, weights: Path, decode: Decoder) -> Numbers:
    """CLIP-SIM as its users write it: transformers, one video at a time. This is the usual way, nothing stands in."""
    from transformers import CLIPModel, CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    from cinetune.models._quiet import quiet

    with quiet():
        model = CLIPModel.from_pretrained(weights).eval()
    tokenizer, processor = CLIPTokenizer.from_pretrained(weights), CLIPImageProcessorPil()
    text, frames = [], []
    for path, caption in clips.every:
        images = processor(images=list(decode(path)), return_tensors="pt")
        tokens = tokenizer([caption], truncation=True, max_length=77, return_tensors="pt")
        seen = model(**images, **tokens)
        text.append((seen.image_embeds @ seen.text_embeds[0]).mean().item())
        frames.append((seen.image_embeds[1:] * seen.image_embeds[:-1]).sum(1).mean().item())
    return _by_arm("clip_text", text) | _by_arm("clip_frames", frames)


def flicker(clips: Clips, weights: Path, decode: Decoder) -> Numbers:
    """Temporal flickering as in VBench, before it is turned around: a loop over neighbouring frames."""
    values = []
    for path, _ in clips.every:
        pairs = itertools.pairwise(decode(path).astype(np.float32))
        values.append(np.mean([np.abs(b - a).mean() for a, b in pairs]))
    return _by_arm("flicker", values)


def _filled(network: nn.Module, weights: Path) -> nn.Module:
    network.load_state_dict(torch.load(weights), strict=True)
    return network.eval()


def alexnet(weights: Path) -> nn.Sequential:
    """AlexNet up to the last of its five ReLUs, by torchvision's names."""
    layers: list[nn.Module] = []
    for inner, outer, kernel, stride, pool in ((3, 64, 11, 4, 0), (64, 192, 5, 1, 1), (192, 384, 3, 1, 1),
                                               (384, 256, 3, 1, 0), (256, 256, 3, 1, 0)):  # fmt: skip
        layers += [nn.MaxPool2d(3, 2)] * pool
        layers += [nn.Conv2d(inner, outer, kernel, stride, kernel // 2 if stride == 1 else 2), nn.ReLU()]
    tensors = {name.removeprefix("features."): value for name, value in torch.load(weights / TRUNK).items()}
    trunk = nn.Sequential(*layers)
    trunk.load_state_dict(tensors)
    return trunk.eval()


def _maps(trunk: nn.Sequential, x: torch.Tensor) -> list[torch.Tensor]:
    maps = []
    for layer in trunk:
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            maps.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
    return maps


def _mmd(x: np.ndarray, y: np.ndarray) -> float:
    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)

    n = len(x)
    own = sum((k.sum() - np.trace(k)) / (n * (n - 1)) for k in (kernel(x, x), kernel(y, y)))
    return float(own - 2 * kernel(x, y).mean())


def _by_arm(name: str, values: Sequence[float]) -> Numbers:
    """Split what was measured of `Clips.every`."""
    half = len(values) // 2
    return {f"{name}, generated": float(np.mean(values[:half])), f"{name}, real": float(np.mean(values[half:]))}
