"""Frames as networks want them."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

HEIGHT, WIDTH = 64, 96
STRETCHED = f"antialiased bilinear to {HEIGHT}x{WIDTH} (aspect not kept), -1..1"
"""Preprocessing of `nano_frames` and `nano_video`, in words."""


def to_pixels(frames: UInt8[np.ndarray, "f h w 3"], device: torch.device) -> Float[Tensor, "f 3 h w"]:
    """Return frames as floats, -1..1."""
    whole = np.require(frames, requirements=["C", "W"])  # torch takes no views and no read-only memory
    pixels = torch.from_numpy(whole).to(device).permute(0, 3, 1, 2).float()
    return pixels / 127.5 - 1


def stretch(pixels: Float[Tensor, "f 3 h w"]) -> Float[Tensor, "f 3 64 96"]:
    """Return pixels at the miniatures' size; frames that have it already are unchanged."""
    if pixels.shape[-2:] == (HEIGHT, WIDTH):
        return pixels
    return F.interpolate(pixels, (HEIGHT, WIDTH), mode="bilinear", antialias=True)
