"""Query, key and value of the self-attention as one matrix product instead of three."""

from typing import Any

from cinetune.generate.levers._contract import Lever, Order, without_gpu
from cinetune.generate.window import Rig
from cinetune.models._velocity import parts


def _obstacle(rig: Rig, value: str) -> str:
    beside = any("lora_" in name for name, _ in rig.network.named_parameters())
    return "an adapter beside the weights would be lost without a word; add --lever merge" if beside else ""


def _apply(rig: Rig, value: str) -> str:
    for part in parts(rig.network):
        any_part: Any = part
        for block in any_part.blocks:
            block.attn1.fuse_projections()
            del block.attn1.to_q, block.attn1.to_k, block.attn1.to_v  # diffusers keeps them, 6 GB of the 14B
    return ""


LEVER = Lever(
    name="fuse_qkv",
    does="Computes query, key and value of the self-attention in one matrix product.",
    changes="rounding",
    order=Order.WEIGHTS,
    source="diffusers 0.42 models/transformers/transformer_wan.py, fuse_projections",
    obstacle=_obstacle,
    idle=without_gpu,
    apply=_apply,
)
