"""Cross-attention over a caption of any length, equal to Wan's over the caption padded to 512 tokens.

Wan pads the text with zero vectors and attends to all 512 tokens without a mask. The padding tokens are all alike,
so n of them weigh exactly as much as one whose attention logit is raised by log(n). For the miniature, whose video
has 120 tokens, this halves the work. A video of more tokens than the padding has nothing to gain from it and keeps
the attention that diffusers chose.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanAttention
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

PADDED_LENGTH = 512
"""Tokens that Wan pads every caption to (Wan2.1: wan/configs/shared_config.py, text_len)."""


class ShortTextAttention:
    """An attention processor for `attn2`: over short captions inside `told`, over padded ones outside it."""

    def __init__(self) -> None:
        self.image_tokens: int | None = None
        self.bias: Tensor | None = None

    @contextmanager
    def told(self, image_tokens: int, bias: Float[Tensor, "b 1 1 k"]) -> Iterator[None]:
        """Say for one forward pass how many image tokens come first and what the padding weighs."""
        self.image_tokens, self.bias = image_tokens, bias
        try:
            yield
        finally:
            self.image_tokens, self.bias = None, None

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        rotary_emb: None = None,
    ) -> Tensor:
        split = self.image_tokens
        if split is None:
            split = encoder_hidden_states.shape[1] - PADDED_LENGTH
        image, text = encoder_hidden_states[:, :split], encoder_hidden_states[:, split:]
        query = _heads(attn, attn.norm_q(attn.to_q(hidden_states)))
        key = _heads(attn, attn.norm_k(attn.to_k(text)))
        out = scaled_dot_product_attention(query, key, _heads(attn, attn.to_v(text)), attn_mask=self.bias)
        if split:
            key = _heads(attn, attn.norm_added_k(attn.add_k_proj(image)))
            out = out + scaled_dot_product_attention(query, key, _heads(attn, attn.add_v_proj(image)))
        out = out.transpose(1, 2).flatten(2).type_as(hidden_states)
        for layer in attn.to_out:
            out = layer(out)
        return out


def _heads(attn: WanAttention, x: Tensor) -> Tensor:
    split: Tensor = x.reshape(*x.shape[:2], attn.heads, -1).transpose(1, 2)
    return split


def installed(network: WanTransformer3DModel) -> ShortTextAttention:
    """Return the processor that all cross-attentions of the network share, giving it to them on first use."""
    processor = network.blocks[0].attn2.processor
    if isinstance(processor, ShortTextAttention):
        return processor
    processor = ShortTextAttention()
    for block in network.blocks:
        block.attn2.set_processor(processor)
    return processor


def shorten(
    text: Float[Tensor, "b m e"], lengths: tuple[int, ...]
) -> tuple[Float[Tensor, "b k e"], Float[Tensor, "b 1 1 k"]]:
    """Return the captions with at least one zero token each, and the attention bias that stands for the rest.

    Raises:
        ValueError: a caption has 512 tokens or more, so that there is no padding to stand in for.
    """
    longest = max(lengths)
    if longest >= PADDED_LENGTH:
        raise ValueError(f"a caption of {longest} tokens leaves no room for padding")
    width = longest + 1
    short = text.new_zeros(text.shape[0], width, text.shape[2])
    short[:, :longest] = text[:, :longest]
    bias = torch.zeros(text.shape[0], 1, 1, width, dtype=text.dtype, device=text.device)
    for row, length in enumerate(lengths):
        short[row, length:] = 0
        bias[row, ..., length:] = math.log((PADDED_LENGTH - length) / (width - length))
    return short, bias
