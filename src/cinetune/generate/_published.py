"""diffusers' WanImageToVideoPipeline, told about the given frames by the functions that training and caching use.

diffusers resizes the picture with a Lanczos filter and lets CLIP see what the checkpoint's processor leaves of it; the
published code does neither. The loop, the guidance and the loading of adapters stay diffusers' own.
"""

from typing import Any

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor
from diffusers.video_processor import VideoProcessor
from PIL import Image
from torch import Tensor, nn

from cinetune.models._condition import fit_frame
from cinetune.models._contract import Encoders
from cinetune.models._facts import Facts
from cinetune.models._quiet import quiet
from cinetune.models._scheduler import PublishedUniPC
from cinetune.models._velocity import Experts

with quiet():  # loading the pipelines advises torchvision
    from diffusers import WanImageToVideoPipeline, WanPipeline


class PublishedVideoProcessor(VideoProcessor):  # type: ignore[misc]  # diffusers has no types
    """Stretches a picture to the video's size as the published code does."""

    def preprocess(self, image: Image.Image, height: int, width: int, **_: Any) -> Tensor:
        """Return 1 3 height width, -1..1."""
        return fit_frame(np.asarray(image.convert("RGB")), height, width)


class PublishedPipeline(WanImageToVideoPipeline):  # type: ignore[misc]
    """The pipeline over `encoders` of the package."""

    encoders: Encoders

    def encode_image(self, image: Image.Image | list[Image.Image], device: torch.device | None = None) -> Tensor:
        """Return the image tokens, n pictures by m by d."""
        pictures = image if isinstance(image, list) else [image]
        tokens = [self.encoders.encode_image(np.asarray(picture.convert("RGB"))) for picture in pictures]
        return torch.stack(tokens).to(device or self._execution_device)

    def prepare_latents(
        self, image: Tensor, batch_size: int, num_channels_latents: int = 16, height: int = 480, width: int = 832,
        num_frames: int = 81, dtype: torch.dtype | None = None, device: torch.device | None = None,
        generator: torch.Generator | None = None, latents: Tensor | None = None, last_image: Tensor | None = None,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """Return the starting noise and the condition of mask and latents."""
        given = self.encoders.condition(
            image.float().cpu(), num_frames, None if last_image is None else last_image.cpu()
        )
        shape = (batch_size, num_channels_latents, *given.shape[2:])
        if latents is None:
            latents = randn_tensor(shape, generator=generator, device=device, dtype=dtype)
        latents, given = latents.to(device, dtype), given.to(device, dtype).expand(batch_size, -1, -1, -1, -1)
        if self.config.expand_timesteps:  # Wan2.2 5B: what is given, and where noise goes
            return latents, given[:, 1:], 1 - given[:1, :1]
        return latents, given


def build(encoders: Any, network: nn.Module, facts: Facts, scheduler: PublishedUniPC) -> Any:
    """Return the pipeline for a kind of Wan; text-to-video has diffusers' own."""
    parts: dict[str, Any] = {
        "tokenizer": encoders.tokenizer,
        "text_encoder": encoders.text_encoder,
        "vae": encoders.vae,
        "scheduler": scheduler,
        "transformer": network.transformer if isinstance(network, Experts) else network,
        "transformer_2": network.transformer_2 if isinstance(network, Experts) else None,
        "boundary_ratio": facts.boundary,
    }
    if facts.kind == "t2v":
        return WanPipeline(**parts)
    pipeline = PublishedPipeline(
        **parts,
        image_encoder=encoders.image_encoder,
        image_processor=encoders.image_processor,
        expand_timesteps=facts.kind == "ti2v",
    )
    pipeline.encoders = encoders
    pipeline.video_processor = PublishedVideoProcessor(vae_scale_factor=pipeline.vae_scale_factor_spatial)
    return pipeline
