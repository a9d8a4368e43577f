"""From a role and a choice of weights to a loaded backbone. Never another one than was asked for."""

import importlib
from collections.abc import Mapping
from pathlib import Path

import torch

from cinetune.errors import MetricError
from cinetune.metrics.backbones._contract import Backbone, Eye
from cinetune.metrics.backbones._precision import in_bf16

ROLES = {
    "video": ("nano_video", "i3d"),
    "video_stylegan_v": ("nano_video", "i3d_stylegan_v"),
    "video_videogpt": ("nano_video", "i3d_videogpt"),
    "video_mae": ("nano_video", "videomae"),
    "video_jepa": ("nano_video", "vjepa2"),
    "frames": ("nano_frames", "inception"),
    "frames_tf": ("nano_frames", "inception_tf"),
    "frames_dino": ("nano_frames", "dinov2"),
    "clip": ("nano_clip", "clip_b32"),
    "clip_large": ("nano_clip", "clip_l14_336"),
    "clip_cmmd": ("nano_clip", "clip_l14_336_cmmd"),
    "lpips": ("nano_lpips", "lpips_alex"),
    "lpips_squeeze": ("nano_lpips", "lpips_squeeze"),
    "lpips_vgg": ("nano_lpips", "lpips_vgg"),
    "rlpips": ("nano_lpips", "rlpips"),
    "dists": ("nano_dists", "dists"),
}
"""Role -> (the package's own miniature, the published network). Metrics name roles, never networks."""


def resolve(role: str, weights: str, paths: Mapping[str, Path], device: torch.device, precision: str = "fp32") -> Eye:
    """Load the backbone that plays `role`.

    Args:
        role: a key of ROLES.
        weights: "nano" for the package's own miniatures, "published" for the networks that papers use, "random" for
            those networks on seeded random weights, which cost the same and mean nothing.
        paths: for published weights, the file or folder of a backbone by its name, such as "lpips_alex"; one without
            a path comes from the hub.
        device: where it runs.
        precision: "fp32", or "bf16".

    Raises:
        MetricError: the published network of this role is not on the hub and needs a path, or has no random form.
        WeightsError: the weights are missing, damaged or do not fit, or the hub cannot be reached.
    """
    eye = _loaded(role, weights, paths, device)
    return in_bf16(eye, device) if precision == "bf16" else eye


def _loaded(role: str, weights: str, paths: Mapping[str, Path], device: torch.device) -> Eye:
    own, published = ROLES[role]
    if weights == "nano":
        return backbone(own).load(None, device)
    wanted = backbone(published)
    if weights == "random":
        if wanted.random is None:
            raise MetricError(f"{published}: has no form on random weights; choose nano or published")
        return wanted.random(device)
    assert weights == "published", weights
    if published not in paths and not (wanted.hub or wanted.files):
        raise MetricError(
            f'evaluate.weights = "published": {published} needs the path of its weights ({wanted.obtain}); give '
            f'--backbone {published}=PATH, or set evaluate.weights to "nano"'
        )
    return wanted.load(paths.get(published), device)


def backbone(name: str) -> Backbone:
    """Import one backbone of this folder."""
    found = importlib.import_module(f"cinetune.metrics.backbones.{name}").BACKBONE
    assert isinstance(found, Backbone)
    return found
