"""From a role and a choice of weights to a loaded backbone. Never another one than was asked for."""

import importlib
from collections.abc import Mapping
from pathlib import Path

import torch

from cinetune.errors import MetricError
from cinetune.metrics.backbones._contract import Backbone, Eye

ROLES = {
    "video": ("nano_video", "i3d"),
    "video_stylegan_v": ("nano_video", "i3d_stylegan_v"),
    "video_videogpt": ("nano_video", "i3d_videogpt"),
    "video_mae": ("nano_video", "videomae"),
    "video_jepa": ("nano_video", "vjepa2"),
    "frames": ("nano_frames", "inception"),
    "frames_dino": ("nano_frames", "dinov2"),
    "clip": ("nano_clip", "clip_b32"),
    "clip_large": ("nano_clip", "clip_l14_336"),
    "lpips": ("nano_lpips", "lpips_alex"),
    "lpips_squeeze": ("nano_lpips", "lpips_squeeze"),
    "lpips_vgg": ("nano_lpips", "lpips_vgg"),
    "rlpips": ("nano_lpips", "rlpips"),
    "dists": ("nano_dists", "dists"),
}
"""Role -> (the package's own miniature, the published network). Metrics name roles, never networks."""


def resolve(role: str, weights: str, paths: Mapping[str, Path], device: torch.device) -> Eye:
    """Load the backbone that plays `role`.

    Args:
        role: a key of ROLES.
        weights: "nano" for the package's own miniatures, "published" for the networks that papers use.
        paths: for published weights, the file or folder of each backbone by its name, such as "lpips_alex".
        device: where it runs.

    Raises:
        MetricError: the published network of this role needs a path.
        WeightsError: the weights are missing, damaged or do not fit.
    """
    own, published = ROLES[role]
    if weights == "nano":
        return backbone(own).load(None, device)
    if published not in paths:
        raise MetricError(
            f'evaluate.weights = "published": {published} needs the path of its weights; give '
            f'{published}=PATH, or set evaluate.weights to "nano"'
        )
    return backbone(published).load(paths[published], device)


def backbone(name: str) -> Backbone:
    """Import one backbone of this folder."""
    found = importlib.import_module(f"cinetune.metrics.backbones.{name}").BACKBONE
    assert isinstance(found, Backbone)
    return found
