"""Blocks left out at steps at which the first block does nearly what it did when all of them last ran."""

import torch
from torch import Tensor

from cinetune.generate.levers._contract import Lever, Opening, Order, number
from cinetune.generate.levers._reuse import reuse
from cinetune.generate.window import Rig


def _threshold(value: str) -> float:
    return number("first_block", value, 0, 1)


def _open(opening: Opening, value: str) -> None:
    _threshold(value)


def _apply(rig: Rig, value: str) -> str:
    threshold = _threshold(value)

    def decide(before: Tensor | None, change: Tensor, context: object) -> tuple[bool, Tensor]:
        """Compare mean |change - before| with mean |before|, over all tokens of the window.

        Processes that share the tokens add their sums up: each would decide by its own share otherwise, and those that
        go on would wait for the others inside the attention for ever. Prompt and negative prompt may be decided
        differently, on one process as on two groups of them.
        """
        if before is None:
            return False, change
        sums = [(change - before).abs().sum(dtype=torch.float64), before.abs().sum(dtype=torch.float64)]
        apart, size = rig.vote(torch.stack(sums)).tolist()
        near = apart < threshold * size
        return near, before if near else change

    reuse(rig.network, decide, peek=True)
    rig.caching = True
    return ""


LEVER = Lever(
    name="first_block",
    does="Leaves all blocks but the first out where its change is near that of the step at which all last ran.",
    changes="content",
    order=Order.CACHE,
    source="ParaAttention (chengzeyi/ParaAttention, README.md, First Block Cache); "
    "default of diffusers 0.42 hooks/first_block_cache.py",
    value="0.05",
    means="the largest mean difference over the mean change, 0..1; 0 leaves nothing out",
    open=_open,
    apply=_apply,
    clashes={"magnitude": "both leave blocks out"},
)
