"""SageAttention: query and key rounded to 8 bits, which nobody gets without asking for it by name."""

from functools import cache

from cinetune.generate.levers._contract import Lever, Order
from cinetune.generate.levers.attention import asked
from cinetune.generate.window import Rig
from cinetune.speed.attention import NATIVE, Asked, Trial, set_kernel, try_out


@cache
def _trial(kernel: str, asked: Asked) -> Trial:
    *_, trial = try_out((NATIVE, kernel), asked, seed=0)
    return trial


def _obstacle(rig: Rig, value: str) -> str:
    if "sage" not in value:
        return "not one of diffusers' sage kernels; give --lever attention=KERNEL for another"
    trial = _trial(value, asked(rig))
    return trial.why if trial.difference is None else ""


def _apply(rig: Rig, value: str) -> str:
    set_kernel(rig.network, value)
    return f"on random numbers {_trial(value, asked(rig)).difference:.1g} from native, as 2-norms"


LEVER = Lever(
    name="sage",
    does="Multiplies query and key of the attention in 8 bits.",
    changes="content",
    order=Order.ATTENTION,
    source="SageAttention2 (Zhang et al. 2024, arXiv 2411.10958); diffusers 0.42 models/attention_dispatch.py",
    value="sage",
    means="sage, sage_hub, or another of diffusers' sage kernels",
    obstacle=_obstacle,
    apply=_apply,
    clashes={"attention": "both choose the kernel"},
)
