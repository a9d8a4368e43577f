"""Between the frames that files hold and the pixels that networks see."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def to_pixels(frames: np.ndarray) -> Float[Tensor, "1 3 f h w"]:
    """Map uint8 frames (f h w 3) to a batch of one in -1..1, with the arithmetic of the diffusers pipeline."""
    video = torch.from_numpy(frames.astype(np.float32) / 255.0).permute(3, 0, 1, 2)
    return (2.0 * video - 1.0).unsqueeze(0)


def to_frames(pixels: Float[Tensor, "3 f h w"]) -> np.ndarray:
    """Map pixels in -1..1 to uint8 frames (f h w 3), rounding to the nearest level."""
    levels = (pixels / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    return levels.permute(1, 2, 3, 0).contiguous().cpu().numpy()
