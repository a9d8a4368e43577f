"""A frozen base in 8 bits: the linear layers of the blocks, with a scale for each output channel.

Everything else keeps its precision: patch embedding, time, text and image embedding, norms, modulation tables, the last
layer, and the adapter. Of Wan2.1 I2V 14B that is 1.5 % of the weights. The backward pass keeps the 8-bit weight alone
and makes its bf16 form again, where autograd of a cast weight would hold that form of every layer.

    fp8    w = s q, q in float8_e4m3fn, s = max |w| of the row / 448
    int8   w = s q, q in -127..127,     s = max |w| of the row / 127
    fp8 matmul: activations and incoming gradients are rounded to fp8 too, with a scale for each token. In the input
    gradient dy w = (dy s) q the scales of the weight run along the sum, so they are multiplied into dy first.

Shapes are not in the signatures: torch.compile traces through these functions.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from cinetune.errors import RecipeError
from cinetune.models._velocity import parts

Kind = Literal["fp8", "int8"]
FP8 = torch.float8_e4m3fn
LARGEST = {"fp8": 448.0, "int8": 127.0}
"""Of a stored number (e4m3: Micikevicius et al. 2022, arXiv 2209.05433, table 1)."""
TINY = 1e-12
"""Least scale, for rows of zeros."""
FP8_FROM = (8, 9)
"""CUDA compute capability from which GPUs multiply fp8: Ada and Hopper."""


class FrozenLinear(nn.Module):
    """A frozen linear layer stored in 8 bits."""

    def __init__(self, linear: nn.Linear, kind: Kind, *, fp8_matmul: bool, device: torch.device) -> None:
        """Round the layer's weight on `device`; the result lies where the layer lay."""
        super().__init__()
        self.in_features, self.out_features, self.kind = linear.in_features, linear.out_features, kind
        self.fp8_matmul = fp8_matmul
        home, w = linear.weight.device, linear.weight.detach().to(device).float()
        scale = (w.abs().amax(dim=1, keepdim=True) / LARGEST[kind]).clamp(min=TINY)
        q = (w / scale).to(FP8).view(torch.int8) if kind == "fp8" else (w / scale).round().to(torch.int8)
        # Bytes, whatever they stand for: every collective and every engine can carry int8.
        self.weight = nn.Parameter(q.to(home), requires_grad=False)
        self.scale: Tensor
        self.register_buffer("scale", scale.to(home), persistent=False)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Return x w + bias, ... i to ... o."""
        out: Tensor = _Product.apply(x, self.weight, self.scale, self.kind, self.fp8_matmul)  # type: ignore[no-untyped-call]
        return out if self.bias is None else out + self.bias

    def extra_repr(self) -> str:
        """Return what print shows."""
        return f"{self.in_features}, {self.out_features}, {self.kind}, fp8_matmul={self.fp8_matmul}"


class _Product(torch.autograd.Function):
    """x w of a frozen w."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, kind: str, fp8_matmul: bool) -> Tensor:
        ctx.save_for_backward(weight, scale)
        ctx.kind, ctx.fp8_matmul = kind, fp8_matmul
        if fp8_matmul:
            return fp8_product(x, weight.view(FP8).t(), scale.t())
        return x @ restored(weight, scale, kind, x.dtype).t()

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor, None, None, None, None]:
        weight, scale = ctx.saved_tensors
        (dy,) = given
        if ctx.fp8_matmul:
            columns = weight.view(FP8).t().contiguous().t()  # the kernel takes its second matrix column by column
            dx = fp8_product(dy.float() * scale.t(), columns, scale.new_ones(1, weight.shape[1])).to(dy.dtype)
        else:
            dx = dy @ restored(weight, scale, ctx.kind, dy.dtype)
        return dx, None, None, None, None


def restored(weight: Tensor, scale: Tensor, kind: str, dtype: torch.dtype) -> Tensor:
    """Return the weight (o i) that its 8 bits stand for, with its scales (o 1)."""
    q = weight.view(FP8) if kind == "fp8" else weight
    return (q.float() * scale).to(dtype)


def fp8_product(x: Tensor, q: Tensor, scale: Tensor) -> Tensor:
    """Return x (q scale), ... k times k m, with x rounded to fp8 by rows; scale: 1 m.

    On a GPU in one fp8 kernel. Elsewhere the same rounding, and the product of the rounded numbers in fp32, which holds
    them exactly: what comes out differs by the order of the sum and the last rounding alone.
    """
    rows = x.reshape(-1, x.shape[-1])
    scales = (rows.abs().amax(dim=1, keepdim=True).float() / LARGEST["fp8"]).clamp(min=TINY)
    rounded = (rows.float() / scales).to(FP8)
    if x.is_cuda:
        out = torch._scaled_mm(rounded, q, scale_a=scales, scale_b=scale, out_dtype=torch.bfloat16)
    else:
        out = (rounded.float() @ q.float()) * scales * scale
    return out.to(x.dtype).reshape(*x.shape[:-1], q.shape[1])


def quantise(network: nn.Module, kind: Kind, device: torch.device, *, fp8_matmul: bool = False) -> int:
    """Replace the frozen linear layers of all blocks, the adapter being in already; return how many there were.

    Args:
        network: with `blocks`, or two such experts.
        kind: how weights are stored.
        device: where the work is done; layers stay where they are.
        fp8_matmul: multiply in fp8 too.

    Raises:
        RecipeError: an adapter that needs the base's weights (DoRA), or a GPU without fp8.
    """
    if any(getattr(module, "lora_magnitude_vector", None) for module in network.modules()):
        raise RecipeError(f"a base in {kind}: DoRA needs the base's own weights; take another adapter, or bf16")
    if fp8_matmul and device.type == "cuda" and torch.cuda.get_device_capability(device) < FP8_FROM:
        raise RecipeError(f"fp8_matmul: {torch.cuda.get_device_name(device)} cannot multiply fp8 (Ada and later can)")
    places = [
        (module, name, child)
        for part in parts(network)
        for module in _blocks(part).modules()
        for name, child in module.named_children()
        if type(child) is nn.Linear and not child.weight.requires_grad
    ]
    for module, name, child in places:
        module.register_module(name, FrozenLinear(child, kind, fp8_matmul=fp8_matmul, device=device))
    return len(places)


def _blocks(part: Any) -> nn.Module:
    blocks: nn.Module = part.blocks
    return blocks
