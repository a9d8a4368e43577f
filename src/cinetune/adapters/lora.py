"""LoRA on a frozen network through peft: W x + (alpha / r) B A x (Hu et al. 2021, sec. 4.1), and its kin."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from torch import Tensor, nn

from cinetune.adapters.form import Adapter, Layer, usual
from cinetune.adapters.keys import some
from cinetune.adapters.reading import PEFT, read_adapter
from cinetune.adapters.writing import write_adapter
from cinetune.errors import WeightsError
from cinetune.files import write_aside

FILE_NAME = "pytorch_lora_weights.safetensors"
"""The name that `load_lora_weights` of diffusers looks for in a folder."""
NAME = "default"
"""What peft calls the adapter; part of its parameters' names."""
_PREFIX = "transformer."
_PARTS = {"a": "lora_A", "b": "lora_B", "magnitude": "lora_magnitude_vector"}


def inject(
    network: nn.Module,
    targets: list[str],
    *,
    rank: int,
    alpha: float,
    seed: int,
    ranks: Mapping[str, int] | None = None,
    alphas: Mapping[str, float] | None = None,
    rslora: bool = False,
    dora: bool = False,
) -> LoraConfig:
    """Add an adapter to the named linear layers, in fp32 whatever the base's precision; only it is trainable.

    B starts as zeros (and DoRA's magnitude as the norms of the base's rows), so that the adapted network equals the
    base; A is drawn with `seed`.

    Args:
        targets: names of layers, whole or their ends.
        ranks: those of layers, by whole name, that have another than `rank`.
        alphas: those of layers, by whole name, that have another than `alpha`.
    """
    config = LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=targets, init_lora_weights=True, use_rslora=rslora, use_dora=dora,
        rank_pattern=_patterns(ranks), alpha_pattern=_patterns(alphas),
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        # The CPU's generator alone, from which peft draws: torch.manual_seed would seed those of GPUs too, for good.
        torch.default_generator.manual_seed(seed)
        inject_adapter_in_model(config, network)
    for name, weight in network.named_parameters():
        weight.requires_grad_("lora_" in name)
        if weight.requires_grad:
            weight.data = weight.data.float()
    for layer in layers(network).values() if dora else ():
        # peft rounds the norms to the base's precision, and a fresh adapter would differ from the base
        layer.lora_magnitude_vector[NAME].weight.data = layer.get_base_layer().weight.data.float().norm(dim=1)
    return config


def layers(network: nn.Module) -> dict[str, Any]:
    """Return peft's layers with an adapter, by the name of the layer they adapt."""
    return {name: m for name, m in network.named_modules() if isinstance(m, LoraLayer) and NAME in m.lora_A}


def parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the trainable weights, the adapter's."""
    return [w for w in network.parameters() if w.requires_grad]


def form(network: nn.Module, weights: Mapping[str, Tensor] | None = None) -> Adapter:
    """Return the adapter on a network as the form in memory, on the CPU.

    Args:
        weights: by parameter name, whole, in the place of the network's own, which may be sharded.
    """
    given = {n: w for n, w in network.named_parameters() if "lora_" in n} if weights is None else weights
    found = {}
    for name, layer in layers(network).items():
        keys = {part: f"{name}.{key}.{NAME}.weight" for part, key in _PARTS.items()}
        parts = {part: given[key].detach().cpu().contiguous() for part, key in keys.items() if key in given}
        found[name] = Layer(alpha=float(layer.lora_alpha[NAME]), rslora=layer.use_rslora[NAME], **parts)
    return Adapter(dict(sorted(found.items())), "diffusers")


def save(path: Path, network: nn.Module, weights: Mapping[str, Tensor] | None = None) -> None:
    """Write the adapter in diffusers' layout, fp32, with rank and alpha in the metadata that diffusers reads.

    Args:
        weights: by parameter name, whole, in the place of the network's own, which may be sharded.
    """
    adapter = form(network, weights)
    adapted: Any = network
    config = adapted.peft_config[NAME].to_dict()
    if config["rank_pattern"] or config["alpha_pattern"] or config["use_rslora"] or config["use_dora"]:
        write_adapter(path, adapter, "diffusers")
        return
    kept = {k: v for k, v in config.items() if k in ("r", "lora_alpha", "init_lora_weights", "lora_bias")}
    kept["target_modules"] = sorted(config["target_modules"])
    # One key alone: safetensors writes several in random order, and the same adapter shall be the same bytes.
    metadata = {PEFT: json.dumps({f"{_PREFIX}{k}": v for k, v in kept.items()}, sort_keys=True)}
    state: dict[str, Tensor] = {}
    for name, layer in adapter.layers.items():
        state |= {f"{_PREFIX}{name}.lora_A.weight": layer.a, f"{_PREFIX}{name}.lora_B.weight": layer.b}
    with write_aside(path) as aside:
        save_file(dict(sorted(state.items())), aside, metadata=metadata)


def load(path: Path, network: nn.Module) -> None:
    """Inject the adapter of a file of any format into a network, in fp32.

    Raises:
        WeightsError: no such file, damaged, or made for another network.
    """
    put(read_adapter(path), network, str(path))


def put(adapter: Adapter, network: nn.Module, where: str) -> None:
    """Inject an adapter into a network, in fp32.

    Args:
        where: what an error says of where the adapter came from.

    Raises:
        WeightsError: made for another network.
    """
    modules = dict(network.named_modules())
    for name, layer in adapter.layers.items():
        base: Any = modules.get(name)
        if not isinstance(base, nn.Linear) or (layer.b.shape[0], layer.a.shape[1]) != tuple(base.weight.shape):
            raise WeightsError(f"{where}: made for another network: {some([name])} is no such layer of this one")
        if layer.rslora != next(iter(adapter.layers.values())).rslora or (layer.magnitude is None) == adapter.dora:
            raise WeightsError(f"{where}: {name} is of another kind (rsLoRA, DoRA) than others; convert it first")
    rank, ranks = usual({name: layer.rank for name, layer in adapter.layers.items()})
    alpha, alphas = usual({name: layer.alpha for name, layer in adapter.layers.items()})
    rslora = any(layer.rslora for layer in adapter.layers.values())
    inject(
        network, list(adapter.layers), rank=rank, alpha=alpha, seed=0, ranks=ranks, alphas=alphas, rslora=rslora,
        dora=adapter.dora,
    )  # fmt: skip
    injected = dict(network.named_parameters())
    for name, layer in adapter.layers.items():
        for part, key in _PARTS.items():
            value: Tensor | None = getattr(layer, part)
            if value is not None:
                injected[f"{name}.{key}.{NAME}.weight"].data.copy_(value)


def _patterns(values: Mapping[str, Any] | None) -> dict[str, Any]:
    """What peft takes: regular expressions, of which the first that matches the end of a name counts."""
    return {f"^{name}": value for name, value in (values or {}).items()}
