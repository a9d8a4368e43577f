"""What must be done before processes share a network, and one line where it comes after."""

from typing import Any

from torch import nn

from cinetune.errors import RunError
from cinetune.generate.window import Rig
from cinetune.models._velocity import parts


def close(rig: Rig) -> None:
    """Refuse layers and caches that come after this, at the next forward pass.

    A layer that is added to sharded weights would stay a whole and different one on every process; a cache that is
    switched on after the tokens were shared hooks in on the wrong side of the split.
    """
    caching = rig.caching
    for part in parts(rig.network):
        count, cached = _count(part), _cached(part)

        def check(module: nn.Module, args: Any, count: int = count, cached: bool = cached) -> None:
            if _count(module) != count:
                raise RunError("a layer was added to the network after its work was shared out; add adapters before")
            if rig.caching != caching or _cached(module) != cached:
                raise RunError("a cache was switched on after the tokens were shared out; do it before")

        part.register_forward_pre_hook(check)


def _count(module: nn.Module) -> int:
    return sum(1 for _ in module.parameters())


def _cached(module: Any) -> bool:
    """Whether one of diffusers' own caches is on."""
    return bool(module.is_cache_enabled)
