"""What Wan's image-to-video network is told about given frames, computed as the published code does.

Three facts that cost eight tools their training, none of which raises an error when it is wrong: the condition is the
encoding of the given frame followed by grey (not by zero latents), the mask is one in latent frame 0 in all four
channels, and CLIP sees the whole picture stretched, not its centre.
Source: Wan-Video/Wan2.1 wan/image2video.py, wan/first_last_frame2video.py, wan/modules/clip.py. Checked against their
outputs in tests/models/test_published.py.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from cinetune.models._contract import Frame, Latents, Pixels
from cinetune.ops.video import to_pixels

TEMPORAL = 4
"""Frames in one latent frame; the first latent frame stands for one frame alone."""
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def fit_frame(frame: Frame, height: int, width: int) -> Float[Tensor, "1 3 height width"]:
    """Return a picture of any size as -1..1 at the video's size: stretched bicubically, without antialiasing.

    As in the published code the values may pass -1..1 a little at sharp edges. A picture of that size stays as it is.
    """
    pixels = to_pixels(frame[None])[:, :, 0]
    if pixels.shape[2:] == (height, width):
        return pixels
    return interpolate(pixels, size=(height, width), mode="bicubic", align_corners=False)


def clip_pixels(frame: Frame, size: int = 224) -> Float[Tensor, "1 3 s s"]:
    """Return what the CLIP tower sees of a picture: all of it, stretched to a square bicubically, no antialiasing."""
    square = fit_frame(frame, size, size) * 0.5 + 0.5
    mean, std = torch.tensor(CLIP_MEAN).view(1, 3, 1, 1), torch.tensor(CLIP_STD).view(1, 3, 1, 1)
    return (square - mean) / std


def given_video(first: Float[Tensor, "b 3 h w"], frames: int, last: Float[Tensor, "b 3 h w"] | None = None) -> Pixels:
    """Return the video that is encoded as the condition: the given frames, and grey (0 in -1..1) where none is."""
    video = first.new_zeros(first.shape[0], 3, frames, *first.shape[2:])
    video[:, :, 0] = first
    if last is not None:
        video[:, :, -1] = last
    return video


def given_mask(latents: Latents, *, last: bool = False) -> Float[Tensor, "b 4 lf lh lw"]:
    """Return the four mask channels, one for each of the frames that a latent frame stands for.

    The first latent frame is one frame, told four times: all ones. A given last frame is the fourth frame of the last
    latent frame: ones in the fourth channel alone.
    """
    b, _, lf, lh, lw = latents.shape
    mask = latents.new_zeros(b, TEMPORAL, lf, lh, lw)
    mask[:, :, 0] = 1
    if last:
        mask[:, -1, -1] = 1
    return mask
