"""The fastest exact attention kernel of this machine, measured at the window's own size."""

from typing import Any

from cinetune.errors import RecipeError
from cinetune.generate.levers._contract import Lever, Opening, Order
from cinetune.generate.window import Rig
from cinetune.models._condition import TEMPORAL
from cinetune.models._velocity import parts
from cinetune.speed.attention import Asked, choose_attention
from cinetune.speed.processes import place

AUTO = "auto"


def asked(rig: Rig) -> Asked:
    """Return the self-attention of the usual window, of all heads. Among processes: a kernel that tokens can share."""
    any_network: Any = parts(rig.network)[0]
    any_model: Any = rig.model
    config, step = any_network.config, any_model.facts.step
    frames, height, width = rig.size
    tokens = ((frames - 1) // TEMPORAL + 1) * (height // step) * (width // step)
    heads, each = config.num_attention_heads, config.attention_head_dim
    return Asked(1, tokens, heads, each, rig.dtype, rig.device, context_parallel=place()[1] > 1, backward=False)


def _open(opening: Opening, value: str) -> None:
    if "sage" in value.lower():
        raise RecipeError(f"--lever attention={value}: it rounds to 8 bits; give --lever sage={value}")


def _idle(rig: Rig, value: str) -> str:
    return f"a {rig.device.type} has one kernel" if value == AUTO and rig.device.type != "cuda" else ""


def _apply(rig: Rig, value: str) -> str:
    first, *others = parts(rig.network)
    kernel = choose_attention(first, value, asked(rig), verb="generate", option="--lever attention")
    for part in others:
        choose_attention(part, kernel, asked(rig), verb="generate", option="--lever attention")
    return ""


LEVER = Lever(
    name="attention",
    does="Takes the fastest attention kernel that agrees with the native one to rounding.",
    changes="rounding",
    order=Order.ATTENTION,
    source="diffusers 0.42 models/attention_dispatch.py",
    value=AUTO,
    means="auto, or a name of diffusers' such as flash or _native_cudnn",
    open=_open,
    idle=_idle,
    apply=_apply,
)
