"""A base in 8 bits: what the bytes stand for, the gradients, what is left alone, and the effect on the loss."""

import pytest
import torch
from torch import nn

from cinetune.errors import RecipeError
from cinetune.models._wan import WanModel
from cinetune.speed.quantised import FP8, FrozenLinear, Kind, fp8_product, quantise, restored
from tiny_step import CPU, EVERYTHING, adapted, relative, step


def linear(inputs: int = 48, outputs: int = 32) -> nn.Linear:
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(inputs, outputs).requires_grad_(False)
    layer.weight.data.copy_(torch.randn(outputs, inputs, generator=generator))
    layer.weight.data[3] *= 1000  # another scale
    layer.weight.data[5] = 0
    return layer


@pytest.mark.parametrize(("kind", "step_size"), [("int8", 1 / 127), ("fp8", 2 / 16)])
def test_a_weight_is_off_by_half_a_step_at_most(kind: Kind, step_size: float) -> None:
    """int8: half of 1/127 of the row's largest. fp8 (3 bits of mantissa): 1/16 of the number itself."""
    layer = linear()
    frozen = FrozenLinear(layer, kind, fp8_matmul=False, device=CPU)
    assert frozen.weight.element_size() == 1
    back = restored(frozen.weight, frozen.scale, kind, torch.float32)
    size = layer.weight.abs().amax(dim=1, keepdim=True) if kind == "int8" else layer.weight.abs()
    least = 0 if kind == "int8" else layer.weight.abs().amax(dim=1, keepdim=True) * 2**-10 / 448  # subnormal numbers
    assert torch.all((back - layer.weight).abs() <= size * step_size / 2 * (1 + 1e-5) + least)
    assert torch.all(back[5] == 0)


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_forward_and_input_gradient_are_those_of_the_restored_weight(kind: Kind) -> None:
    layer = linear()
    frozen = FrozenLinear(layer, kind, fp8_matmul=False, device=CPU)
    plain = linear()
    plain.weight.data.copy_(restored(frozen.weight, frozen.scale, kind, torch.float32))
    plain.bias.data.copy_(layer.bias)
    x = torch.randn(2, 7, 48, generator=torch.Generator().manual_seed(1))
    one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
    out = frozen(one)
    assert torch.allclose(out, plain(two), rtol=1e-5, atol=1e-4)
    out.square().sum().backward()
    plain(two).square().sum().backward()
    assert one.grad is not None
    assert two.grad is not None
    assert torch.allclose(one.grad, two.grad, rtol=1e-4, atol=1e-2)
    assert frozen.weight.grad is None


def test_autograd_keeps_the_bytes_alone() -> None:
    frozen = FrozenLinear(linear(), "fp8", fp8_matmul=False, device=CPU)
    kept = list[torch.Tensor]()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        frozen(torch.randn(2, 48, requires_grad=True))
    assert max(tensor.nbytes for tensor in kept) == 48 * 32


def test_fp8_matmul_is_the_product_of_rounded_numbers() -> None:
    """As torch's own fp8 product on this machine has it, and within 5 % of the true one."""
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(32, 48, generator=generator), torch.randn(64, 48, generator=generator)
    x[4] *= 100
    scale = w.abs().amax(dim=1, keepdim=True) / 448
    q = (w / scale).to(FP8)
    out = fp8_product(x, q.t(), scale.t())
    truth = x @ w.t()
    assert float((out - truth).norm() / truth.norm()) < 0.05
    rows = x.abs().amax(dim=1, keepdim=True) / 448
    other = torch._scaled_mm((x / rows).to(FP8), q.t(), scale_a=rows, scale_b=scale.t(), out_dtype=torch.bfloat16)
    assert float((out - other).norm() / other.float().norm()) < 4e-3, "bf16 rounds the result"


def test_fp8_matmul_input_gradient() -> None:
    """The scales of the weight run along the sum there; leaving them out would be off by orders of magnitude."""
    layer = linear()
    frozen = FrozenLinear(layer, "fp8", fp8_matmul=True, device=CPU)
    x = torch.randn(16, 48, generator=torch.Generator().manual_seed(1), requires_grad=True)
    dy = torch.randn(16, 32, generator=torch.Generator().manual_seed(2))
    frozen(x).backward(dy)
    truth = dy @ layer.weight
    assert x.grad is not None
    assert float((x.grad - truth).norm() / truth.norm()) < 0.06


@pytest.mark.parametrize(
    ("kind", "matmul", "loss_limit", "gradient_limit"),
    [("int8", False, 0.002, 0.05), ("fp8", False, 0.005, 0.15), ("fp8", True, 0.01, 0.2)],
)
def test_effect_on_loss_and_gradients(
    tiny: WanModel, kind: Kind, matmul: bool, loss_limit: float, gradient_limit: float
) -> None:
    network = adapted(tiny, dtype=torch.bfloat16, targets=EVERYTHING)
    before, gradients = step(network, tiny)
    count = quantise(network, kind, CPU, fp8_matmul=matmul)
    after, changed = step(network, tiny)
    apart, turned = abs(after - before) / before, relative(changed, gradients)
    print(f"{kind}, fp8 matmul {matmul}: {count} layers, loss {apart:.2e}, gradients {turned:.2e} apart")
    assert 0 < apart < loss_limit
    assert 0 < turned < gradient_limit


def test_what_keeps_its_precision(tiny: WanModel) -> None:
    network = adapted(tiny, dtype=torch.bfloat16)
    before = {name: weight.dtype for name, weight in network.named_parameters()}
    quantise(network, "int8", CPU)
    changed = {name for name, weight in network.named_parameters() if weight.dtype != before[name]}
    linears = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "attn2.to_q", "attn2.to_k", "attn2.to_v",
               "attn2.to_out.0", "attn2.add_k_proj", "attn2.add_v_proj", "ffn.net.0.proj", "ffn.net.2")  # fmt: skip
    weights = {name.replace(".base_layer", "") for name in changed}
    blocks = {name.split(".")[1] for name in changed}
    assert weights == {f"blocks.{n}.{name}.weight" for n in blocks for name in linears}
    assert all(w.dtype == torch.float32 for w in network.parameters() if w.requires_grad)


def test_dora_needs_the_weights_themselves(tiny: WanModel) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    network = tiny.load_transformer(CPU, torch.bfloat16)
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["attn2.to_q"], use_dora=True), network)
    with pytest.raises(RecipeError, match="DoRA"):
        quantise(network, "fp8", CPU)
