"""The linear layers of the blocks in 8-bit floating point: half the memory, and on newer GPUs faster products."""

import torch

from cinetune.errors import RecipeError
from cinetune.generate.levers._contract import Lever, Opening, Order, without_gpu
from cinetune.generate.window import Rig
from cinetune.speed.quantised import FP8_FROM, quantise

WEIGHTS, MATMUL = "weights", "matmul"


def _open(opening: Opening, value: str) -> None:
    if value not in (WEIGHTS, MATMUL):
        raise RecipeError(f"--lever fp8={value}: give {WEIGHTS} or {MATMUL}")
    opening.place = torch.device("cpu")


def _obstacle(rig: Rig, value: str) -> str:
    if any(getattr(module, "lora_magnitude_vector", None) for module in rig.network.modules()):
        return "a DoRA beside the weights needs them as they are; add --lever merge"
    old = rig.device.type == "cuda" and torch.cuda.get_device_capability(rig.device) < FP8_FROM
    if value == MATMUL and old:
        return f"{torch.cuda.get_device_name(rig.device)} cannot multiply fp8 (Ada and later can)"
    return ""


def _apply(rig: Rig, value: str) -> str:
    beside = [weight for name, weight in rig.network.named_parameters() if "lora_" in name]
    for weight in beside:  # what is trained keeps its precision, and that is how it is told from the base
        weight.requires_grad_(True)
    count = quantise(rig.network, "fp8", rig.device, fp8_matmul=value == MATMUL)
    for weight in beside:
        weight.requires_grad_(False)
    return f"{count} linear layers"


LEVER = Lever(
    name="fp8",
    does="Stores the blocks' linear layers in fp8 with a scale for each output; `matmul` multiplies in fp8 too.",
    changes="content",
    order=Order.WEIGHTS,
    source="Micikevicius et al. 2022 (arXiv 2209.05433); cinetune.speed.quantised",
    value=WEIGHTS,
    means="weights (less memory) or matmul (less time too, on Ada and later)",
    open=_open,
    obstacle=_obstacle,
    idle=without_gpu,
    apply=_apply,
    clashes={"fuse_qkv": "layers that are rounded cannot be put together"},
)
