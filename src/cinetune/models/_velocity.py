"""One forward pass of a Wan network, whatever its kind, with the published answer: noise - data."""

import contextlib
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cinetune.models import _short_text
from cinetune.models._contract import Condition, Latents
from cinetune.models._facts import Facts

STEPS = 1000
"""The network's own time is 1000 sigma (Wan2.1: wan/configs/shared_config.py, num_train_timesteps)."""


class Experts(nn.Module):
    """Wan2.2 A14B: one network for high noise, one for low. Named as the parts of the checkpoint are."""

    def __init__(self, high: nn.Module, low: nn.Module, boundary: float) -> None:
        """Take the networks and the noise level (0..1) from which up `high` works."""
        super().__init__()
        self.transformer, self.transformer_2 = high, low
        self.boundary = boundary

    def by_name(self) -> dict[str, nn.Module]:
        """Return the networks as recipes and adapter files call them."""
        return {"high": self.transformer, "low": self.transformer_2}

    def high(self, sigma: Float[Tensor, " b"]) -> Bool[Tensor, " b"]:
        """Return for which noise levels the network for high noise works; one at the boundary is high."""
        return sigma * STEPS >= self.boundary * STEPS


def parts(network: nn.Module) -> list[nn.Module]:
    """Return the network, or the two of a model of two experts."""
    return list(network.by_name().values()) if isinstance(network, Experts) else [network]


def velocity(
    network: nn.Module, facts: Facts, latents: Latents, sigma: Float[Tensor, " b"], condition: Condition
) -> Latents:
    """Return the estimate of noise - data for noisy latents at noise levels sigma."""
    if isinstance(network, Experts):
        out = torch.empty_like(latents, dtype=torch.float32)
        high = network.high(sigma)
        for rows, expert in ((high, network.transformer), (~high, network.transformer_2)):
            if rows.any():
                out[rows] = velocity(expert, facts, latents[rows], sigma[rows], condition.rows(rows))
        return out
    if facts.kind == "ti2v":
        return _around_the_given_frame(network, latents, sigma, condition)
    return _forward(network, torch.cat([latents, condition.first], dim=1), sigma * STEPS, condition)


def _around_the_given_frame(
    network: nn.Module, latents: Latents, sigma: Float[Tensor, " b"], condition: Condition
) -> Latents:
    """Wan2.2 5B: the given latents take their place without noise, at timestep 0 for each of their tokens.

    There the answer is not the network's but the straight way from where the latents are to the given ones, so that
    samplers, losses and guidance need not know of it.
    """
    given, mask = condition.first[:, 1:], condition.first[:, :1]
    timestep = ((1 - mask[:, 0, :, ::2, ::2]) * (sigma * STEPS).view(-1, 1, 1, 1)).flatten(1)
    out = _forward(network, mask * given + (1 - mask) * latents, timestep, condition)
    way = (latents - given) / sigma.clamp(min=1 / STEPS).view(-1, 1, 1, 1, 1)
    return mask * way + (1 - mask) * out


def _forward(network: nn.Module, hidden: Tensor, timestep: Tensor, condition: Condition) -> Latents:
    any_network: Any = network
    _, across, down = any_network.config.patch_size
    tokens = hidden.shape[2] * (hidden.shape[3] // across) * (hidden.shape[4] // down)
    # Activations that are recomputed in the backward pass are so after `told` has ended.
    again = any_network.gradient_checkpointing and torch.is_grad_enabled()
    if max(tokens, *condition.text_length) < _short_text.PADDED_LENGTH and not again:
        told: contextlib.AbstractContextManager[None]
        text, bias = _short_text.shorten(condition.text, condition.text_length)
        told = _short_text.installed(any_network).told(condition.image.shape[1], bias)
    else:
        missing = _short_text.PADDED_LENGTH - condition.text.shape[1]
        text, told = nn.functional.pad(condition.text, (0, 0, 0, missing)), contextlib.nullcontext()
    image: Tensor | None = None
    if condition.image.shape[1]:
        image = condition.image.to(any_network.dtype)
        if any_network.config.pos_embed_seq_len is not None:  # diffusers' first-and-last network: two rows a video
            image = image.view(2 * image.shape[0], -1, image.shape[2])
    with told:
        out: Tensor = any_network(
            hidden_states=hidden.to(any_network.dtype),
            timestep=timestep,
            encoder_hidden_states=text.to(any_network.dtype),
            encoder_hidden_states_image=image,
            return_dict=False,
        )[0]
    return out.float()
