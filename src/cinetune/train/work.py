"""What one micro-batch asks of the network: its sizes, what is adapted, and the operations of a step."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from cinetune.models._facts import Facts
from cinetune.models._short_text import PADDED_LENGTH
from cinetune.models._velocity import parts
from cinetune.ops.flops import Flops, Linear, Shape, Sizes, linears, read_sizes, training_flops


@dataclass(frozen=True)
class Work:
    """A network as it is trained. Of a model of two experts each clip goes through one, and both are alike."""

    sizes: Sizes
    layers: tuple[Linear, ...] | None
    """What the adapter changes; None where the base itself is trained."""
    rank: int
    """Of the adapter; where layers differ, the mean by their widths."""
    checkpointing: bool
    facts: Facts
    kept: int = 0
    """With checkpointing, blocks that are not computed again; the last ones."""

    def shape(self, latents: Sequence[int], text_length: Sequence[int], image_tokens: int) -> Shape:
        """Return what is put through the network.

        Args:
            latents: b c f h w of a micro-batch.
            text_length: tokens of each caption.
            image_tokens: of each first frame, 0 where the network takes none.
        """
        batch, _, frames, height, width = latents
        spatial = self.facts.spatial
        shape = Shape(
            4 * (frames - 1) + 1, height * spatial, width * spatial, batch, image_tokens=image_tokens,
            spatial=spatial, time_per_token=self.facts.kind == "ti2v",
        )  # fmt: skip
        longest = max(shape.tokens(self.sizes.patch_size), *text_length)
        if longest < PADDED_LENGTH and not self.checkpointing:  # as models/_velocity.py decides
            shape = replace(shape, text_tokens=max(text_length) + 1)
        return shape

    def flops(self, shape: Shape) -> Flops:
        """Return the operations of one forward and backward pass."""
        layers = None if self.layers is None else list(self.layers)

        def count(checkpointing: bool) -> Flops:
            return training_flops(self.sizes, shape, layers=layers, rank=self.rank, checkpointing=checkpointing)

        cost = count(self.checkpointing)
        if not (self.checkpointing and self.kept):
            return cost
        again = cost.hardware - count(False).hardware
        return cost._replace(hardware=cost.hardware - round(again * self.kept / self.sizes.num_layers))


def describe_work(network: nn.Module, facts: Facts) -> Work:
    """Read off a network, before any engine wraps it, what is trained and how."""
    part: Any = next(p for p in parts(network) if any(w.requires_grad for w in p.parameters()))
    sizes = read_sizes(part.config, "the network")
    ranks = {name: module.r["default"] for name, module in part.named_modules() if getattr(module, "lora_A", None)}
    layers = tuple(layer for layer in linears(sizes) if layer.name in ranks)
    widths = [layer.inputs + layer.outputs for layer in layers]
    weighed = sum(ranks[layer.name] * width for layer, width in zip(layers, widths, strict=True))
    return Work(
        sizes=sizes, layers=layers if ranks else None, rank=round(weighed / sum(widths)) if widths else 0,
        checkpointing=part.gradient_checkpointing, facts=facts,
    )  # fmt: skip
