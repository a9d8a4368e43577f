"""Wan2.1 image-to-video behind the package's contract, from any folder or hub id in diffusers layout."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AutoTokenizer, CLIPVisionModel, UMT5EncoderModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from cinetune.errors import RecipeError, WeightsError
from cinetune.files import sha256
from cinetune.models._checking import check_pipeline
from cinetune.models._condition import TEMPORAL
from cinetune.models._contract import Condition, Latents, Usual
from cinetune.models._decoder import WanDecoder
from cinetune.models._encoders import WanEncoders
from cinetune.models._facts import Facts, read_facts
from cinetune.models._loading import load_part
from cinetune.models._quiet import quiet
from cinetune.models._resolve import resolve
from cinetune.models._velocity import Experts, velocity

CROSS_ATTENTION = ["attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0"]
PUBLISHED = Usual(frames=81, height=480, width=832, fps=16.0, steps=40, guidance=5.0, shift=3.0, large_shift=5.0)
"""Wan2.1 I2V 14B 480P (Wan-Video/Wan2.1 generate.py and README.md; shift 5 at 720p)."""
IMAGE_PROJECTIONS = ["attn2.add_k_proj", "attn2.add_v_proj"]


@dataclass(frozen=True)
class WanModel:
    """Wan2.1 image-to-video in a diffusers folder, given by path or by hub id."""

    name: str
    source: str
    licence: str = "Apache-2.0"
    usual: Usual = field(default=PUBLISHED, repr=False)
    parts: tuple[str, ...] = field(default=("vae", "text_encoder", "image_encoder"), repr=False)

    @cached_property
    def folder(self) -> Path:
        """The local folder, downloaded on first use where `source` is a hub id.

        Raises:
            WeightsError: no such folder, or the download failed.
        """
        return resolve(self.source)

    @cached_property
    def facts(self) -> Facts:
        """What the folder's own configs say.

        Raises:
            WeightsError: no folder, another architecture, or a config is missing or damaged.
        """
        check_pipeline(self.folder)
        return read_facts(self.folder)

    def check_size(self, frames: int, height: int, width: int) -> None:
        """Raise RecipeError unless frames is 4n + 1 and both sides are whole numbers of tokens."""
        if frames % TEMPORAL != 1:
            raise RecipeError(f"{self.name}: frames must be 4n + 1, got {frames}")
        step = self.facts.step
        if height % step or width % step:
            raise RecipeError(f"{self.name}: height and width must be multiples of {step}, got {height}x{width}")

    def fingerprint(self) -> str:
        """Return 16 hex digits of a hash over the encoders' weight files."""
        digest = hashlib.sha256()
        for part in self.parts:
            for file in sorted((self.folder / part).glob("*.safetensors")):
                digest.update(f"{part}/{file.name}:{sha256(file)}".encode())
        return digest.hexdigest()[:16]

    def load_encoders(self, device: torch.device) -> WanEncoders:
        """Load the encoders in fp32, frozen.

        Raises:
            WeightsError: a part is missing or damaged.
        """
        seeing = self.facts.image_tokens
        return WanEncoders(
            vae=self._load(AutoencoderKLWan, "vae", device, torch.float32),
            text_encoder=self._load(UMT5EncoderModel, "text_encoder", device, torch.float32),
            tokenizer=self.load_tokenizer(),
            image_encoder=self._load(CLIPVisionModel, "image_encoder", device, torch.float32) if seeing else None,
            image_processor=self._read(CLIPImageProcessorPil, "image_processor") if seeing else None,
            device=device,
            kind=self.facts.kind,
        )

    def load_tokenizer(self) -> Any:
        """Load the tokenizer of captions.

        Raises:
            WeightsError: missing or damaged.
        """
        return self._read(AutoTokenizer, "tokenizer")

    def load_decoder(self, device: torch.device) -> WanDecoder:
        """Load the VAE in fp32, frozen, into host memory.

        Raises:
            WeightsError: it is missing or damaged.
        """
        return WanDecoder(self._load(AutoencoderKLWan, "vae", torch.device("cpu"), torch.float32), device)

    def load_transformer(self, device: torch.device, dtype: torch.dtype) -> nn.Module:
        """Load the denoising network, or both of a model of two, frozen.

        Raises:
            WeightsError: the part is missing or damaged.
        """
        network: nn.Module = self._load(WanTransformer3DModel, "transformer", device, dtype)
        if self.facts.boundary is None:
            return network
        low: nn.Module = self._load(WanTransformer3DModel, "transformer_2", device, dtype)
        return Experts(network, low, self.facts.boundary)

    def velocity(
        self, network: nn.Module, latents: Latents, sigma: Float[Tensor, " b"], condition: Condition
    ) -> Latents:
        """Return the network's estimate of noise - data."""
        return velocity(network, self.facts, latents, sigma, condition)

    def adapter_targets(self, *, image_projections: bool) -> list[str]:
        """Return the linear layers of the cross-attention: q, k, v, o and, by choice, image k and v."""
        return CROSS_ATTENTION + (IMAGE_PROJECTIONS if image_projections and self.facts.image_tokens else [])

    def _load(self, cls: Any, part: str, device: torch.device, dtype: torch.dtype) -> Any:
        return load_part(cls, self.folder / part, device=device, dtype=dtype, allow_half_vae=self.facts.half_vae)

    def _read(self, cls: Any, part: str) -> Any:
        folder = self.folder / part
        if not folder.is_dir():
            raise WeightsError(f"{self.source}: no folder {part!r}; this is not the whole model, download it")
        try:
            with quiet():
                return cls.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise WeightsError(f"{folder}: cannot load {cls.__name__}: {str(error).splitlines()[0]}") from None
