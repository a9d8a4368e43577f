"""Between the frames that files hold and the pixels that networks see."""

import numpy as np
import torch
from jaxtyping import Float, UInt8, UInt16
from torch import Tensor


def to_pixels(frames: np.ndarray) -> Float[Tensor, "1 3 f h w"]:
    """Map uint8 frames (f h w 3) to a batch of one in -1..1, with the arithmetic of the diffusers pipeline."""
    video = torch.from_numpy(frames.astype(np.float32) / 255.0).permute(3, 0, 1, 2)
    return (2.0 * video - 1.0).unsqueeze(0)


def to_frames(pixels: Float[Tensor, "3 f h w"]) -> np.ndarray:
    """Map pixels in -1..1 to uint8 frames (f h w 3), rounding to the nearest level."""
    levels = (pixels / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    return levels.permute(1, 2, 3, 0).contiguous().cpu().numpy()


def from_deep(frames: UInt16[np.ndarray, "f h w 3"]) -> Float[Tensor, "1 3 f h w"]:
    """Map frames of 16 bits to a batch of one in -1..1; those that came from 8 bits (v * 257) as `to_pixels` maps v."""
    video = torch.from_numpy(frames.astype(np.float32) / 65535.0).permute(3, 0, 1, 2)
    return (2.0 * video - 1.0).unsqueeze(0)


def to_deep(pixels: Float[Tensor, "3 f h w"]) -> UInt16[np.ndarray, "f h w 3"]:
    """Map pixels in -1..1 to frames of 16 bits, rounding to the nearest level."""
    levels = (pixels / 2 + 0.5).clamp(0, 1).mul(65535).round().to(torch.int32)
    return levels.permute(1, 2, 3, 0).contiguous().cpu().numpy().astype(np.uint16)


def to_shallow(frames: UInt16[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    """Map 16 bits to 8, rounding to the nearest level (65535 = 255 * 257)."""
    return ((frames.astype(np.uint32) + 128) // 257).astype(np.uint8)


def deepen(frames: UInt8[np.ndarray, "..."]) -> UInt16[np.ndarray, "..."]:
    """Map 8 bits to 16, from which `to_shallow` gives the same 8 bits."""
    return frames.astype(np.uint16) * 257
