"""What a base model must provide. Everything else in the package is shared by all of them.

One convention inside the package, whatever a model was trained with: `sigma` is the noise level (0 data, 1 noise),
and the network's answer is the velocity, noise - data. Axes: b batch, c channels, f frames, h height, w width
(lf, lh, lw: of the latents), n and m tokens, d and e width of a token.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

Pixels = Float[Tensor, "b 3 f h w"]
"""Video, -1..1."""
Latents = Float[Tensor, "b c lf lh lw"]
"""Normalised VAE latents: posterior mean, minus the published mean, over the published deviation."""
Frame = UInt8[np.ndarray, "h w 3"]
Frames = UInt8[np.ndarray, "f h w 3"]


@dataclass(frozen=True)
class Condition:
    """Everything the network is told besides the noisy latents, for a batch."""

    first: Latents
    """What the network is told of given frames. Image-to-video: four mask channels, 1 where a frame is given, then the
    latents of [first frame, grey, grey, ..., maybe last frame]. Text-to-video: nothing, zero channels."""
    image: Float[Tensor, "b n d"]
    """Tokens of the first frame from the image encoder, then of the last where one is given; n = 0 without encoder."""
    text: Float[Tensor, "b m e"]
    """Tokens of the caption, zero-padded to the length of the longest in the batch."""
    text_length: tuple[int, ...]
    """True number of tokens of each caption."""

    def rows(self, chosen: Bool[Tensor, " b"]) -> "Condition":
        """Return the condition of some rows of the batch."""
        lengths = tuple(n for n, keep in zip(self.text_length, chosen.tolist(), strict=True) if keep)
        return Condition(self.first[chosen], self.image[chosen], self.text[chosen], lengths)


LARGE = 640_000
"""Pixels of a frame, between 480x832 and 720x1280: above, published samplers take another shift."""


@dataclass(frozen=True)
class Usual:
    """How a model is usually asked for a video; the recipe of a run says it better."""

    frames: int
    """Of one window, 4n + 1."""
    height: int
    """Pixels."""
    width: int
    """Pixels."""
    fps: float
    steps: int
    guidance: float
    shift: float
    """Of the noise levels."""
    large_shift: float | None = None
    """The same of videos of more than `LARGE` pixels; None: the same."""

    def shift_at(self, height: int, width: int) -> float:
        """Return the shift that is usual at a size."""
        return self.shift if self.large_shift is None or height * width <= LARGE else self.large_shift


@runtime_checkable
class Encoders(Protocol):
    """The frozen encoders and the decoder of a base model, on one device."""

    def encode_text(self, captions: list[str]) -> list[Float[Tensor, "m e"]]:
        """Return the tokens of each caption, trimmed to its true length."""
        ...

    def encode_image(self, frame: Frame) -> Float[Tensor, "n d"]:
        """Return the image encoder's tokens of a frame of any size."""
        ...

    def encode_video(self, pixels: Pixels) -> Latents:
        """Return normalised latents (posterior mean)."""
        ...

    def condition(
        self, first: Float[Tensor, "b 3 h w"], frames: int, last: Float[Tensor, "b 3 h w"] | None = None
    ) -> Latents:
        """Return mask and condition latents for first (and last) frames in -1..1 and a video of `frames` frames."""
        ...

    def decode(self, latents: Latents) -> Pixels:
        """Return pixels, clamped to -1..1."""
        ...

    def decoder(self) -> "Decoder":
        """Return the decoder, of the same weights."""
        ...

    def without_text(self, device: torch.device) -> "Encoders":
        """Return the same on a device, without the text encoder, whose memory can then be had."""
        ...


@runtime_checkable
class Decoder(Protocol):
    """The decoder of a base model alone. It is on the device that it was loaded for when it decodes, else maybe not."""

    def decode(self, latents: Latents) -> Pixels:
        """Return pixels, clamped to -1..1."""
        ...

    def rest(self) -> None:
        """Leave the device until the next decoding."""
        ...


@runtime_checkable
class VideoModel(Protocol):
    """A published video model."""

    name: str
    source: str
    """Hub id or folder the weights come from."""
    licence: str
    usual: Usual

    def check_size(self, frames: int, height: int, width: int) -> None:
        """Raise RecipeError when the model cannot make this size."""
        ...

    def fingerprint(self) -> str:
        """Return a short hash of the weights of the encoders; cached latents belong to it."""
        ...

    def load_encoders(self, device: torch.device) -> Encoders:
        """Load VAE, text encoder and image encoder, in eval mode and frozen.

        Raises:
            WeightsError: weights missing or damaged.
        """
        ...

    def load_tokenizer(self) -> Callable[..., Any]:
        """Load the tokenizer of captions (a fast one of transformers').

        Raises:
            WeightsError: missing or damaged.
        """
        ...

    def load_decoder(self, device: torch.device) -> Decoder:
        """Load the decoder alone, at rest in host memory, in eval mode and frozen; it will work on `device`.

        Raises:
            WeightsError: weights missing or damaged.
        """
        ...

    def load_transformer(self, device: torch.device, dtype: torch.dtype) -> nn.Module:
        """Load the denoising network, in eval mode and frozen.

        Raises:
            WeightsError: weights missing or damaged.
        """
        ...

    def velocity(
        self, network: nn.Module, latents: Latents, sigma: Float[Tensor, " b"], condition: Condition
    ) -> Latents:
        """Return the network's estimate of noise - data at noise level sigma (0..1)."""
        ...

    def adapter_targets(self, *, image_projections: bool) -> list[str]:
        """Return the names of the linear layers of the cross-attention that a LoRA adapts."""
        ...
