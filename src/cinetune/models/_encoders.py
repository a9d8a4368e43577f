"""Wan2.1's frozen encoders and its decoder: captions, pictures and videos in, tokens and latents out.

What is given to the network, and where it is written down: Wan-Video/Wan2.1 wan/image2video.py (condition, mask,
image tokens), wan/modules/vae.py (posterior mean, normalised), wan/modules/t5.py (tokens trimmed to their true length,
zero-padded to 512).
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from cinetune.errors import RecipeError
from cinetune.models import _short_text
from cinetune.models._condition import TEMPORAL, clip_pixels, given_mask, given_video
from cinetune.models._contract import Frame, Latents, Pixels
from cinetune.models._decoder import WanDecoder, statistics
from cinetune.models._facts import Kind
from cinetune.models._quiet import quiet


@dataclass(frozen=True)
class WanEncoders:
    """VAE, text encoder and image encoder on one device."""

    vae: Any
    text_encoder: Any
    tokenizer: Any
    image_encoder: Any
    image_processor: Any
    device: torch.device
    kind: Kind = "i2v"

    @torch.no_grad()
    def encode_text(self, captions: list[str]) -> list[Float[Tensor, "m e"]]:
        """Return the tokens of each caption, trimmed to its true length (at most 512)."""
        batch = self.tokenizer(
            [clean_prompt(c) for c in captions],
            padding="longest",
            max_length=_short_text.PADDED_LENGTH,
            truncation=True,
            return_attention_mask=True,
            return_tensors="pt",
        ).to(self.device)
        tokens = self.text_encoder(batch.input_ids, batch.attention_mask).last_hidden_state
        lengths = batch.attention_mask.sum(dim=1).tolist()
        return [row[:length].float().cpu() for row, length in zip(tokens, lengths, strict=True)]

    @torch.no_grad()
    def encode_image(self, frame: Frame) -> Float[Tensor, "n d"]:
        """Return the tokens of the last but one layer, as Wan2.1 uses them.

        Published checkpoints come with a processor that crops the centre, which the published code does not do: it is
        left aside for the published stretching. A processor that stretches, as nano's, is the checkpoint's own.
        """
        if self.image_encoder is None:
            return torch.zeros(0, 0)
        if self.image_processor is None or self.image_processor.do_center_crop:
            pixels = clip_pixels(frame, self.image_encoder.config.image_size)
        else:
            pixels = self.image_processor(images=Image.fromarray(frame), return_tensors="pt").pixel_values
        pixels = pixels.to(self.device, self.image_encoder.dtype)
        tokens: Tensor = self.image_encoder(pixels, output_hidden_states=True).hidden_states[-2]
        return tokens[0].float().cpu()

    @torch.no_grad()
    def encode_video(self, pixels: Pixels) -> Latents:
        """Return the posterior mean, normalised with the VAE's published mean and deviation."""
        mean = self.vae.encode(pixels.to(self.device, self.vae.dtype)).latent_dist.mode()
        return self._normalise(mean.float())

    def condition(
        self, first: Float[Tensor, "b 3 h w"], frames: int, last: Float[Tensor, "b 3 h w"] | None = None
    ) -> Latents:
        """Return what a network of this kind is told of given frames: masks, then latents.

        i2v: 4 mask channels and the latents of the given frames with grey between or after them. ti2v: 1 mask channel
        and the latents of the first frame alone, zero where the mask is. t2v: nothing, zero channels.

        Raises:
            RecipeError: a last frame for a kind of model that takes none.
        """
        if self.kind != "i2v":
            if last is not None:
                raise RecipeError(f"a last frame was given, and a {self.kind} model takes none; leave it out")
            return self._first_alone(first, frames)
        latents = self.encode_video(given_video(first, frames, last))
        return torch.cat([given_mask(latents, last=last is not None), latents], dim=1)

    def _first_alone(self, first: Float[Tensor, "b 3 h w"], frames: int) -> Latents:
        latents = self.encode_video(first.unsqueeze(2))
        b, c, _, h, w = latents.shape
        told = latents.new_zeros(b, 1 + c, (frames - 1) // TEMPORAL + 1, h, w)
        told[:, 0, 0], told[:, 1:, 0] = 1, latents[:, :, 0]
        return told if self.kind == "ti2v" else told[:, :0]

    def decode(self, latents: Latents) -> Pixels:
        """Return pixels, clamped to -1..1."""
        return self.decoder().decode(latents)

    def decoder(self) -> WanDecoder:
        """Return the decoder, of the same weights."""
        return WanDecoder(self.vae, self.device)

    def without_text(self, device: torch.device) -> "WanEncoders":
        """Return the same on a device, without the text encoder."""
        seeing = None if self.image_encoder is None else self.image_encoder.to(device)
        vae = self.vae.to(device)
        return replace(self, vae=vae, image_encoder=seeing, text_encoder=None, tokenizer=None, device=device)

    def _normalise(self, latents: Tensor) -> Tensor:
        mean, std = statistics(self.vae, latents)
        return ((latents - mean) / std).cpu()


def clean_prompt(text: str) -> str:
    """Mend encodings, undo HTML entities and collapse white space, exactly as the diffusers pipeline does."""
    with quiet():
        from diffusers.pipelines.wan.pipeline_wan_i2v import prompt_clean

    cleaned: str = prompt_clean(text)
    return cleaned
