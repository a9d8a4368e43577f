"""What a published network gets to see is what transformers' own Pillow processors make of a frame."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from transformers import CLIPImageProcessorPil
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

from cinetune.metrics.backbones import clip_b32, clip_l14_336, clip_l14_336_cmmd, dinov2, videomae, vjepa2
from cinetune.metrics.backbones._transformers_view import IMAGENET, spread

CPU = torch.device("cpu")
SIZES = [(64, 96), (97, 64), (300, 301), (360, 640), (224, 224), (255, 403)]
"""Height and width: small, tall, odd margins, wide, nothing to do."""


def frames(height: int, width: int, count: int = 2) -> np.ndarray:
    """Blocks of colour with noise: edges to ring at, and detail to average."""
    rng = np.random.default_rng(height * width)
    blocks = rng.integers(0, 256, (count, -(-height // 16), -(-width // 16), 3)).repeat(16, 1).repeat(16, 2)
    noisy = blocks[:, :height, :width] + rng.normal(0, 20, (count, height, width, 3))
    return np.asarray(noisy.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("size", SIZES)
def test_images_are_prepared_as_transformers_does(size: tuple[int, int]) -> None:
    mean, deviation = IMAGENET
    own = frames(*size)
    for view, processor in (
        (clip_b32.VIEW, CLIPImageProcessorPil()),
        (clip_l14_336.VIEW, CLIPImageProcessorPil(size=336, crop_size=336)),
        (dinov2.VIEW, BitImageProcessorPil(size={"shortest_edge": 256}, image_mean=mean, image_std=deviation)),
        (videomae.VIEW, VideoMAEImageProcessorPil(image_mean=mean, image_std=deviation)),
    ):
        theirs = processor(list(own), return_tensors="pt").pixel_values.reshape(2, 3, view.crop, view.crop)
        torch.testing.assert_close(view(own, CPU), theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_v_jepa_differs_from_its_torch_processor_by_one_grey_level_at_most(size: tuple[int, int]) -> None:
    """VJEPA2VideoProcessor needs torchvision, which hands byte tensors to torch's antialiased resize."""
    own = frames(*size)
    shape = tuple(int(292 * side / min(size)) for side in size)
    top, left = ((side - 256) // 2 for side in shape)
    resized = F.interpolate(torch.from_numpy(own).permute(0, 3, 1, 2), shape, mode="bilinear", antialias=True)
    theirs = resized[:, :, top : top + 256, left : left + 256].int()
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in IMAGENET)
    ours = ((vjepa2.VIEW(own, CPU) * deviation + mean) * 255).round().int()
    assert (ours - theirs).abs().max() <= 1
    assert (ours != theirs).float().mean() < 0.01


@pytest.mark.parametrize("size", SIZES)
def test_cmmd_crops_first(size: tuple[int, int]) -> None:
    """google-research/cmmd io_util.py, _center_crop_and_resize, by slices."""
    own = frames(*size)
    side = min(size)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    square = [Image.fromarray(frame[top : top + side, left : left + side]) for frame in own]
    cut = np.stack([np.asarray(image.resize((336, 336), Image.Resampling.BICUBIC)) for image in square])
    theirs = CLIPImageProcessorPil()(list(cut), do_resize=False, do_center_crop=False, return_tensors="pt").pixel_values
    torch.testing.assert_close(clip_l14_336_cmmd.VIEW(own, CPU), theirs, rtol=0, atol=1e-5)


def test_cmmd_sees_a_wide_frame_otherwise_than_clip_and_a_square_one_alike() -> None:
    wide, square = frames(360, 641), frames(300, 300)
    assert not torch.equal(clip_l14_336_cmmd.VIEW(wide, CPU), clip_l14_336.VIEW(wide, CPU))
    assert torch.equal(clip_l14_336_cmmd.VIEW(square, CPU), clip_l14_336.VIEW(square, CPU))


def test_every_view_says_what_it_does() -> None:
    views = (clip_b32.VIEW, clip_l14_336.VIEW, clip_l14_336_cmmd.VIEW, dinov2.VIEW, videomae.VIEW, vjepa2.VIEW)
    assert len({str(view) for view in views}) == len(views)
    assert str(dinov2.VIEW) == (
        "Pillow bicubic, shorter side to 256, centre crop 224x224, ImageNet's mean and deviation"
    )


def test_frames_are_spread_as_something_something_is_sampled() -> None:
    """MCG-NJU/VideoMAE ssv2.py: int(tick / 2 + tick * x), tick = frames / 16."""
    assert spread(16, 16).tolist() == list(range(16))
    for total in (17, 24, 33, 81, 1000):
        tick = total / 16
        assert spread(total, 16).tolist() == [int(tick / 2 + tick * x) for x in range(16)]
        assert len(set(spread(total, 16))) == 16
