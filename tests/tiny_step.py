"""Loss and gradients of one step of a tiny network, to compare one way of computing them with another."""

from typing import Any

import torch
from torch import Tensor, nn

from cinetune.adapters import lora
from cinetune.models._random_model import draw_inputs
from cinetune.models._velocity import Experts
from cinetune.models._wan import WanModel
from cinetune.ops.flops import Shape, read_sizes

CPU = torch.device("cpu")
SHAPE = Shape(5, 32, 48, batch=2)
EVERYTHING = ["attn1.to_q", "attn1.to_out.0", "attn2.to_q", "attn2.to_v", "ffn.net.0.proj", "ffn.net.2"]


def adapted(
    model: WanModel, *, dtype: torch.dtype = torch.float32, targets: list[str] | None = None, device: torch.device = CPU
) -> nn.Module:
    """A network with an adapter that already changes what it says: its B is not zero."""
    network = model.load_transformer(device, dtype)
    generator = torch.Generator().manual_seed(1)
    for part in network.by_name().values() if isinstance(network, Experts) else [network]:
        lora.inject(part, targets or model.adapter_targets(image_projections=True), rank=4, alpha=8.0, seed=0)
        for name, weight in part.named_parameters():
            if "lora_B" in name:
                weight.data.copy_(0.05 * torch.randn(weight.shape, generator=generator))
    return network.train()


def step(network: nn.Module, model: WanModel, shape: Shape = SHAPE) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients by name, on inputs that are always the same; the gradients are cleared."""
    part: Any = next(iter(network.by_name().values())) if isinstance(network, Experts) else network
    device = next(part.parameters()).device
    generator = torch.Generator().manual_seed(2)
    latents, condition = draw_inputs(read_sizes(part.config, "tiny"), shape, generator=generator, device=device)
    target = torch.randn(latents.shape, generator=generator).to(device)
    sigma = torch.tensor([0.2, 0.95], device=device)
    loss = (model.velocity(network, latents, sigma, condition) - target).square().mean()
    torch.autograd.backward(loss)
    gradients = {name: w.grad.clone() for name, w in network.named_parameters() if w.grad is not None}
    for weight in network.parameters():
        weight.grad = None
    return loss.item(), gradients


def relative(one: dict[str, Tensor], two: dict[str, Tensor]) -> float:
    """|difference| / |two| over all gradients."""
    assert one.keys() == two.keys()
    assert one
    apart = torch.cat([(one[name] - two[name]).flatten() for name in two])
    return float(apart.norm() / torch.cat([value.flatten() for value in two.values()]).norm())
