"""Frames as networks want them."""

import math

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor
from torch.nn import functional as F

HEIGHT, WIDTH = 64, 96
STRETCHED = f"antialiased bilinear to {HEIGHT}x{WIDTH} (aspect not kept), -1..1"
"""Preprocessing of `nano_frames` and `nano_video`, in words."""
CPU_PIXELS = 2**19
"""Pixels of all frames that go through a network at their own size at once on a CPU, where large frames gain nothing
from company: LPIPS vgg takes some 2 KiB for each."""


def to_bytes(frames: UInt8[np.ndarray, "f h w 3"], device: torch.device) -> UInt8[Tensor, "f 3 h w"]:
    """Return frames as a tensor, 0..255."""
    whole = np.require(frames, requirements=["C", "W"])  # torch takes no views and no read-only memory
    return torch.from_numpy(whole).to(device).permute(0, 3, 1, 2)


def to_pixels(frames: UInt8[np.ndarray, "f h w 3"], device: torch.device) -> Float[Tensor, "f 3 h w"]:
    """Return frames as floats, -1..1."""
    return to_bytes(frames, device).float() / 127.5 - 1


def frames_at_once(frames: UInt8[np.ndarray, "_f h w 3"], most: int, device: torch.device) -> int:
    """Return how many frames to take at once: `most`, or on a CPU fewer where they are large, to bound memory."""
    return most if device.type != "cpu" else max(1, min(most, CPU_PIXELS // (frames.shape[1] * frames.shape[2])))


def stretch(pixels: Float[Tensor, "f 3 h w"]) -> Float[Tensor, "f 3 64 96"]:
    """Return pixels at the miniatures' size; frames that have it already are unchanged."""
    if pixels.shape[-2:] == (HEIGHT, WIDTH):
        return pixels
    return F.interpolate(pixels, (HEIGHT, WIDTH), mode="bilinear", antialias=True)


def tf1_bilinear(images: Shaped[Tensor, "n c h w"], size: int) -> Float[Tensor, "n c size size"]:
    """Resize as TensorFlow 1 does by default: no antialiasing, aspect not kept, corners and not pixel centres align.

    Output pixel i lies at i * (old / new) of the old grid, so the last rows and columns count less than the first.

    Source: tensorflow 1 resize_bilinear with align_corners and half_pixel_centers false.
    """
    rows, columns = (_tf1_positions(old, size, images.device) for old in images.shape[-2:])
    low, high, share = rows
    top = images[:, :, low].float()
    images = top + (images[:, :, high].float() - top) * share[:, None]
    low, high, share = columns
    left = images[..., low]
    return left + (images[..., high] - left) * share


def _tf1_positions(old: int, new: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The two neighbours of each output pixel, and the share of the second."""
    place = np.arange(new, dtype=np.float32) * np.float32(old / new)
    low = np.floor(place).astype(np.int64)
    parts = low, np.minimum(low + 1, old - 1), place - low.astype(np.float32)
    first, second, share = (torch.from_numpy(part).to(device) for part in parts)
    return first, second, share


def plain_bilinear(images: Shaped[Tensor, "n c h w"], height: int, width: int) -> Float[Tensor, "n c height width"]:
    """Resize as torch does by default: pixel centres align, no antialiasing, aspect not kept."""
    return F.interpolate(images.float(), (height, width), mode="bilinear", align_corners=False)


def cover_and_crop(images: Shaped[Tensor, "n c h w"], size: int) -> Float[Tensor, "n c size size"]:
    """Resize the shorter side to `size` (bilinear, no antialiasing; the longer side rounds up) and crop the centre.

    Source: wilson1yan/VideoGPT, videogpt/data.py, preprocess.
    """
    height, width = images.shape[-2:]
    scale = size / min(height, width)
    height, width = (size if side == min(height, width) else math.ceil(side * scale) for side in (height, width))
    top, left = (height - size) // 2, (width - size) // 2
    return plain_bilinear(images, height, width)[..., top : top + size, left : left + size]


def clean_bicubic(images: Shaped[Tensor, "n c h w"], size: int) -> Float[Tensor, "n c size size"]:
    """Resize with an antialiased bicubic filter (a = -0.5) in floats, clipped to 0..255 and not rounded.

    The same as Pillow's BICUBIC on each channel as a float image.

    Source: Parmar et al. 2022, "On aliased resizing"; GaParmar/clean-fid, resize.py.
    """
    return F.interpolate(images.float(), (size, size), mode="bicubic", antialias=True).clamp(0, 255)
