"""A model of true shape with random weights behind the package's contract: for measuring and planning, not for videos.

Nothing is read but configs, so 32.8 GB of weights are neither downloaded nor kept on disk. The tokenizer of a published
model is not in the package: captions cannot be encoded then, and `draw_inputs` draws text of the right size instead.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from torch import Tensor, nn
from transformers import CLIPVisionModel, UMT5EncoderModel

from cinetune.errors import WeightsError
from cinetune.models._contract import Condition, Latents
from cinetune.models._decoder import WanDecoder
from cinetune.models._encoders import WanEncoders
from cinetune.models._random import random_part, shape_folder
from cinetune.models._velocity import Experts
from cinetune.models._wan import WanModel
from cinetune.ops.flops import Shape, Sizes

PARTS = ("transformer", "transformer_2", "vae", "text_encoder", "image_encoder")
TEMPORAL_MASKS = 4
"""Mask channels of image-to-video, one for each frame of a latent frame."""


@dataclass(frozen=True)
class RandomModel(WanModel):
    """A Wan model of random weights; `source` names the shape. Every part is a function of `seed` alone."""

    licence: str = "none: random weights"
    seed: int = 0

    @cached_property
    def folder(self) -> Path:
        """The folder of the configs.

        Raises:
            WeightsError: no such shape.
        """
        return shape_folder(self.source)

    def fingerprint(self) -> str:
        """Return a name of the encoders' weights, which shape and seed fix."""
        return f"random-{self.folder.name}-{self.seed}"

    def load_encoders(self, device: torch.device) -> WanEncoders:
        """Make the encoders in fp32, frozen; captions can be encoded where the folder holds a tokenizer.

        Raises:
            WeightsError: a config is missing or damaged.
        """
        seeing, fp32 = self.facts.image_tokens, torch.float32
        return WanEncoders(
            vae=self._make(AutoencoderKLWan, "vae", device, fp32),
            text_encoder=self._make(UMT5EncoderModel, "text_encoder", device, fp32),
            tokenizer=self._tokenizer(),
            image_encoder=self._make(CLIPVisionModel, "image_encoder", device, fp32) if seeing else None,
            image_processor=None,  # then pictures are stretched, as the published code does
            device=device,
            kind=self.facts.kind,
        )

    def load_decoder(self, device: torch.device) -> WanDecoder:
        """Make the VAE in fp32, frozen, in host memory.

        Raises:
            WeightsError: a config is missing or damaged.
        """
        return WanDecoder(self._make(AutoencoderKLWan, "vae", torch.device("cpu"), torch.float32), device)

    def load_transformer(self, device: torch.device, dtype: torch.dtype) -> nn.Module:
        """Make the denoising network, or both of a model of two, frozen.

        Raises:
            WeightsError: the config is missing or damaged.
        """
        network = self._make(WanTransformer3DModel, "transformer", device, dtype)
        if self.facts.boundary is None:
            return network
        low = self._make(WanTransformer3DModel, "transformer_2", device, dtype)
        return Experts(network, low, self.facts.boundary)

    def _make(self, cls: type[nn.Module], part: str, device: torch.device, dtype: torch.dtype) -> nn.Module:
        seed = self.seed * len(PARTS) + PARTS.index(part)  # no two parts of any two models have the same
        return random_part(cls, self.folder / part, device=device, dtype=dtype, seed=seed)

    def _tokenizer(self) -> Any:
        if not (self.folder / "tokenizer").is_dir():
            return NoTokenizer(self.name)
        from transformers import AutoTokenizer

        return self._read(AutoTokenizer, "tokenizer")


@dataclass(frozen=True)
class NoTokenizer:
    """Stands where the tokenizer would."""

    name: str

    def __call__(self, *_: object, **__: object) -> NoReturn:
        """Refuse.

        Raises:
            WeightsError: always.
        """
        raise WeightsError(
            f"{self.name}: captions cannot be encoded, the package holds no tokenizer for this shape; give the "
            "downloaded model, or measure with `cinetune doctor --measure`, which draws random text"
        )


def draw_inputs(
    sizes: Sizes, shape: Shape, *, generator: torch.Generator, device: torch.device
) -> tuple[Latents, Condition]:
    """Return random latents and a random condition as a network of these sizes takes them, captions at full length.

    Drawn on the generator's device and then moved, so that the same seed is the same numbers everywhere.

    Raises:
        RecipeError: a size that the model cannot make.
    """
    shape.tokens(sizes.patch_size)
    latent = (
        (shape.frames - 1) // shape.temporal + 1,
        shape.height // shape.spatial,
        shape.width // shape.spatial,
    )

    def draw(*size: int) -> Tensor:
        return torch.randn(shape.batch, *size, generator=generator, device=generator.device).to(device)

    given = sizes.in_channels - sizes.out_channels
    masks = TEMPORAL_MASKS
    if shape.time_per_token:  # the first frame takes the place of latents, and one channel says where
        given, masks = sizes.out_channels + 1, 1
    first = draw(given, *latent)
    first[:, :masks] = 0
    first[:, :masks, 0] = 1
    condition = Condition(
        first=first,
        image=draw(shape.image_tokens if sizes.image_dim else 0, sizes.image_dim or 0),
        text=draw(shape.text_tokens, sizes.text_dim),
        text_length=(shape.text_tokens,) * shape.batch,
    )
    return draw(sizes.out_channels, *latent), condition
