"""Several adapters as one: their updates are added, each with a strength of its own."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from cinetune.adapters.form import Adapter, Layer
from cinetune.errors import WeightsError


def stack(adapters: Sequence[tuple[Adapter, float]]) -> Adapter:
    """Return the adapter whose update is the sum of strength x update, of a rank that is the sum of theirs.

    One adapter at strength 1 comes back as it is. Else A's are put below one another, and each B, with its scale and
    strength in it, beside the next.

    Raises:
        WeightsError: a DoRA, whose update is no sum, at another strength than 1 or beside another adapter.
    """
    if len(adapters) == 1 and adapters[0][1] == 1:
        return adapters[0][0]
    if any(adapter.dora for adapter, _ in adapters):
        raise WeightsError("a DoRA cannot be weakened or stacked: it also sets the norms of the weights; merge it into "
                           "the base first (`cinetune adapter merge`)")  # fmt: skip
    parts: dict[str, list[Layer]] = {}
    for adapter, strength in adapters:
        for name, layer in adapter.layers.items():
            b = layer.b.float() * (layer.scale * strength)
            parts.setdefault(name, []).append(replace(layer, a=layer.a.float(), b=b))
    return Adapter({name: _joined(layers) for name, layers in sorted(parts.items())}, adapters[0][0].format)


def _joined(layers: list[Layer]) -> Layer:
    a = torch.cat([layer.a for layer in layers])
    return Layer(a=a, b=torch.cat([layer.b for layer in layers], dim=1), alpha=float(a.shape[0]))
