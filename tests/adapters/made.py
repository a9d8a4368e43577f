"""Adapters and networks for the tests of adapter files."""

import math
import re
from functools import cache

import torch
from diffusers import WanTransformer3DModel

from cinetune.adapters.form import Adapter, Layer
from cinetune.adapters.targets import SETS
from cinetune.nano import dit

REGEX = r"blocks\.[135]\.(attn2\.to_[kv]|ffn\.net\.2)|condition_embedder\.(time_proj|text_embedder\.linear_\d)|proj_out"
TARGETS = ("cross-attention", "attention", "all-linear", REGEX)


def network(text_dim: int = 8, image_dim: int = 8) -> WanTransformer3DModel:
    built = dit.build(0, text_dim=text_dim, image_dim=image_dim).eval().requires_grad_(False)
    assert isinstance(built, WanTransformer3DModel)
    for weight in built.parameters():  # an untrained output layer would hide every difference
        if weight.ndim == 1:
            weight.data = torch.randn(weight.shape, generator=torch.Generator().manual_seed(4)) * 0.3
    return built


def forward(net: torch.nn.Module) -> torch.Tensor:
    """The network's output for one fixed input, at the sizes of its text and image tokens."""
    config = net.config
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        out: torch.Tensor = net(
            hidden_states=torch.randn(1, 36, 2, 4, 4, generator=g),
            timestep=torch.tensor([500.0]),
            encoder_hidden_states=torch.randn(1, 512, config.text_dim, generator=g),
            encoder_hidden_states_image=torch.randn(1, 5, config.image_dim, generator=g),
            return_dict=False,
        )[0]
    return out


@cache
def shapes() -> dict[str, torch.Size]:
    """Of every linear layer of `network()`."""
    return {name: m.weight.shape for name, m in network().named_modules() if isinstance(m, torch.nn.Linear)}


def adapter_for(
    target: str = "cross-attention",
    *,
    net: torch.nn.Module | None = None,
    ranks: tuple[int, ...] = (4,),
    alphas: tuple[float, ...] = (8.0,),
    rslora: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Adapter:
    """Random factors, nothing zero; ranks and alphas go round the layers."""
    g = torch.Generator().manual_seed(3)
    layers = {}
    sizes = shapes() if net is None else {n: m.weight.shape for n, m in net.named_modules() if hasattr(m, "weight")}
    chosen = [name for name in shapes() if re.fullmatch(SETS.get(target, target), name)]
    for n, name in enumerate(sorted(chosen)):
        out, into = sizes[name]
        rank = ranks[n % len(ranks)]
        a, b = torch.randn(rank, into, generator=g), torch.randn(out, rank, generator=g)
        layers[name] = Layer((a / math.sqrt(into)).to(dtype), (b * 0.1).to(dtype), alphas[n % len(alphas)], rslora)
    return Adapter(layers, "diffusers")


def same(one: Adapter, other: Adapter) -> bool:
    """Bit for bit: layers, weights and their precision, alpha and its rule."""
    if list(one.layers) != list(other.layers):
        return False
    pairs = [(layer, other.layers[name]) for name, layer in one.layers.items()]
    return all(
        torch.equal(x.a, y.a) and torch.equal(x.b, y.b) and (x.a.dtype, x.b.dtype) == (y.a.dtype, y.b.dtype)
        and (x.alpha, x.rslora) == (y.alpha, y.rslora)
        for x, y in pairs
    )  # fmt: skip
