"""From a role and a choice of weights to a loaded backbone. Never another one than was asked for."""

import importlib
from collections.abc import Mapping
from pathlib import Path

import torch

from cinetune.errors import MetricError
from cinetune.metrics.backbones._contract import Backbone, Eye

PUBLISHED = {"lpips": "lpips_alex"}
"""Published networks that are wired; the other roles (I3D, Inception, CLIP) come with a later issue."""


def resolve(role: str, weights: str, paths: Mapping[str, Path], device: torch.device) -> Eye:
    """Load the backbone that plays `role`.

    Args:
        role: "frames", "video", "clip" or "lpips".
        weights: "nano" for the package's own miniatures, "published" for the networks that papers use.
        paths: for published weights, the file or folder of each role.
        device: where it runs.

    Raises:
        MetricError: the published network of this role is not wired yet, or needs a path.
        WeightsError: the weights are missing, damaged or do not fit.
    """
    if weights == "nano":
        return backbone(f"nano_{role}").load(None, device)
    if role not in PUBLISHED:
        raise MetricError(
            f'evaluate.weights = "published": the published {role} network is not wired into cinetune yet (a later '
            f'issue brings it); leave out the metrics of role {role}, or set evaluate.weights to "nano"'
        )
    if role not in paths:
        raise MetricError(
            f'evaluate.weights = "published": {PUBLISHED[role]} needs the path of its weights; give '
            f'published={{"{role}": FOLDER}}, or set evaluate.weights to "nano"'
        )
    return backbone(PUBLISHED[role]).load(paths[role], device)


def backbone(name: str) -> Backbone:
    """Import one backbone of this folder."""
    found = importlib.import_module(f"cinetune.metrics.backbones.{name}").BACKBONE
    assert isinstance(found, Backbone)
    return found
