"""A backbone that computes in bfloat16: faster on what has the units for it, and not the numbers of papers.

Matrix products and convolutions are in bf16, norms and softmax in fp32, as torch.autocast has it; features are fp32.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import torch

from cinetune.metrics.backbones._contract import Eye, Identity

LOOKING = ("frames", "video", "videos", "images", "text", "distances")
"""Methods of all kinds of eyes that run a network."""


def in_bf16(eye: Eye, device: torch.device) -> Eye:
    """Return the eye, computing in bf16 from now on. Its identity says so, and so do results and stored features."""
    kind: Any = type(eye)
    own: dict[str, Any] = {
        name: _autocast(getattr(kind, name), device.type) for name in LOOKING if callable(getattr(kind, name, None))
    }
    identity = eye.identity
    own["identity"] = property(lambda self: _in_bf16(identity))
    rounded: Any = eye
    rounded.__class__ = type(kind.__name__, (kind,), own)
    return eye


def _in_bf16(identity: Identity) -> Identity:
    return dataclasses.replace(identity, version=f"{identity.version} in bf16")


def _autocast(method: Callable[..., Any], device: str) -> Callable[..., Any]:
    @functools.wraps(method)
    def looking(self: Any, *args: Any) -> Any:
        with torch.autocast(device, torch.bfloat16):
            return method(self, *args)

    return looking
