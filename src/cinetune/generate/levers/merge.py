"""Adapters added into the weights: no further layers to run."""

from cinetune.generate.levers._contract import Lever, Opening, Order


def _open(opening: Opening, value: str) -> None:
    opening.merge = True


LEVER = Lever(
    name="merge",
    does="Adds adapters into the weights, computed in fp32 and rounded once, so that they cost no time.",
    changes="rounding",
    order=Order.WEIGHTS,
    source="Hu et al. 2021 (LoRA, arXiv 2106.09685), sec. 4.1: no additional inference latency",
    open=_open,
)
