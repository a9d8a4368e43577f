"""How networks that were published with a PIL preprocessing see a frame: the same steps, in the same order.

The resize is Pillow's own, on bytes, as in the image processors of transformers that need no torchvision. It is the
same on every machine; torchvision's resize of byte tensors differs from it by one grey level in under 1 % of values.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8
from PIL import Image
from torch import Tensor

Normal = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and deviation of each channel, of pixels in 0..1."""
IMAGENET: Normal = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OPENAI: Normal = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""Of CLIP (openai/CLIP clip/clip.py, _transform)."""
NAMES = {IMAGENET: "ImageNet's", OPENAI: "CLIP's"}


@dataclass(frozen=True)
class View:
    """Resize and crop to a square, then subtract a mean and divide by a deviation."""

    crop: int
    """Side of the square that the network gets, in pixels."""
    resample: Image.Resampling
    normal: Normal
    shorter: int = 0
    """Length to which the shorter side is brought before the crop, at least `crop`; 0 is `crop`."""
    square_first: bool = False
    """Cut the largest centred square, then resize that to `crop`."""

    def __call__(self, frames: UInt8[np.ndarray, "f h w 3"], device: torch.device) -> Float[Tensor, "f 3 s s"]:
        """Return what the network gets."""
        cut = np.stack([self._cut(Image.fromarray(np.ascontiguousarray(frame))) for frame in frames])
        mean, deviation = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in self.normal)
        return (torch.from_numpy(cut).to(device).permute(0, 3, 1, 2).float() / 255 - mean) / deviation

    def __str__(self) -> str:
        """Say it in words."""
        how = self.resample.name.lower()
        if self.square_first:
            steps = f"largest centred square, Pillow {how} to {self.crop}x{self.crop}"
        else:
            steps = f"Pillow {how}, shorter side to {self.shorter or self.crop}, centre crop {self.crop}x{self.crop}"
        return f"{steps}, {NAMES[self.normal]} mean and deviation"

    def _cut(self, image: Image.Image) -> UInt8[np.ndarray, "s s 3"]:
        if self.square_first:
            image = _centre(image, min(image.size)).resize((self.crop, self.crop), self.resample)
        else:
            shorter, own = self.shorter or self.crop, min(image.size)
            width, height = (int(shorter * side / own) for side in image.size)
            image = _centre(image.resize((width, height), self.resample), self.crop)
        return np.asarray(image)


def _centre(image: Image.Image, side: int) -> Image.Image:
    """Cut a centred square; an odd margin leaves the spare row below, the spare column to the right."""
    left, top = ((whole - side) // 2 for whole in image.size)
    return image.crop((left, top, left + side, top + side))


def spread(total: int, count: int) -> Integer[np.ndarray, " n"]:
    """Return `count` evenly spaced positions among `total`: of each equal part the middle one.

    Source: MCG-NJU/VideoMAE ssv2.py, the first of the two test samplings of Something-Something v2.
    """
    return ((np.arange(count) + 0.5) * total / count).astype(np.int64)
