"""Which layers of Wan2.1 an adapter adapts: three sets with a name, or a regular expression."""

import re
from collections.abc import Iterable

from torch import nn

from cinetune.errors import RecipeError

SETS = {
    "cross-attention": r"blocks\.\d+\.attn2\.(to_[qkv]|to_out\.0|add_[kv]_proj)",
    "attention": r"blocks\.\d+\.attn[12]\.(to_[qkv]|to_out\.0|add_[kv]_proj)",
    "all-linear": r"blocks\.\d+\.(attn[12]\.(to_[qkv]|to_out\.0|add_[kv]_proj)|ffn\.net\.(0\.proj|2))",
}
"""Smallest first. None reaches the embeddings and the head, which the published trainers leave alone too."""


def choose(network: nn.Module, target: str) -> list[str]:
    """Return the linear layers of a network that a set's name, or a regular expression over whole names, picks.

    Raises:
        RecipeError: not a regular expression, or one that picks no linear layer.
    """
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    try:
        picked = [name for name in linear if re.fullmatch(SETS.get(target, target), name)]
    except re.error as error:
        raise RecipeError(f"targets {target!r}: not a regular expression ({error})") from None
    if not picked:
        example = linear[-1] if linear else "none"
        raise RecipeError(f"targets {target!r}: no linear layer has such a name; give {', '.join(SETS)} or a regular "
                          f"expression over names such as {example}")  # fmt: skip
    return picked


def name_of(layers: Iterable[str]) -> str:
    """Return the name of the smallest set that holds all the layers, or "other"."""
    names = list(layers)
    return next((name for name, rule in SETS.items() if all(re.fullmatch(rule, n) for n in names)), "other")
