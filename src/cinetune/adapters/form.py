"""An adapter in memory, the same whatever file it came from: for each layer A, B and alpha."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class Layer:
    """The update of one layer, scale * B A (Hu et al. 2021, sec. 4.1). A convolution's kernel belongs to "in"."""

    a: Float[Tensor, "rank ..."]
    """Called lora_A or lora_down in files."""
    b: Float[Tensor, "out rank ..."]
    """Called lora_B or lora_up in files."""
    alpha: float
    rslora: bool = False
    """Scale is alpha / sqrt(rank) (Kalajdzievski 2023, rsLoRA) instead of alpha / rank."""
    magnitude: Float[Tensor, " out"] | None = None
    """DoRA: what the norms of the rows of the adapted weight are set to; None = they are what they come to."""

    @property
    def rank(self) -> int:
        """Number of rows of A."""
        return self.a.shape[0]

    @property
    def scale(self) -> float:
        """What B A is multiplied by."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    @property
    def plain_alpha(self) -> float:
        """The alpha of the same scale under the rule alpha / rank, for files that know no other."""
        return self.scale * self.rank if self.rslora else self.alpha

    @property
    def parameters(self) -> int:
        """Number of trained weights."""
        return self.a.numel() + self.b.numel() + (0 if self.magnitude is None else self.magnitude.numel())

    def update(self) -> Float[Tensor, "out into"]:
        """Return scale * B A in fp32; the largest thing here, out x in."""
        product: Tensor = self.b.float().flatten(1) @ self.a.float().flatten(1)
        return product * self.scale

    def applied(self, weight: Float[Tensor, "out ..."]) -> Float[Tensor, "out ..."]:
        """Return the adapted weight in fp32: weight + scale * B A; with a magnitude m each row of it brought to norm m.

        Source: DoRA, Liu et al. 2024 (arXiv 2402.09353), eq. 5; the norm is over all but the outputs.
        """
        added = weight.float() + self.update().reshape(weight.shape).to(weight.device)
        if self.magnitude is None:
            return added
        norm = added.flatten(1).norm(dim=1)
        brought: Tensor = added * (self.magnitude.float().to(norm.device) / norm).view(
            -1, *(1 for _ in weight.shape[1:])
        )
        return brought


@dataclass(frozen=True)
class Adapter:
    """Layers by their diffusers name, such as `blocks.3.attn2.to_q`, in the order of the names."""

    layers: Mapping[str, Layer]
    format: str
    """"wan", "diffusers" or "kohya": what the file was."""

    @property
    def dtypes(self) -> list[torch.dtype]:
        """Return the precisions of the weights, each once."""
        return sorted({w.dtype for layer in self.layers.values() for w in (layer.a, layer.b)}, key=str)

    @property
    def dora(self) -> bool:
        """Whether a layer has a magnitude."""
        return any(layer.magnitude is not None for layer in self.layers.values())


def usual(values: Mapping[str, T]) -> tuple[T, dict[str, T]]:
    """Return the most common value and the entries that differ from it: how files keep what is nearly uniform."""
    common = Counter(values.values()).most_common(1)[0][0]
    return common, {name: value for name, value in values.items() if value != common}
