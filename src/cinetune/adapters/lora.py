"""LoRA on a frozen network through peft: W x + (alpha / r) B A x (Hu et al. 2021, sec. 4.1)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cinetune.errors import WeightsError
from cinetune.files import write_aside

FILE_NAME = "pytorch_lora_weights.safetensors"
"""The name that `load_lora_weights` of diffusers looks for in a folder."""
_PREFIX = "transformer."
_METADATA = "lora_adapter_metadata"
"""Where diffusers keeps what peft needs to know (diffusers: loaders/lora_base.py); without it alpha would be rank."""


def inject(network: nn.Module, targets: list[str], *, rank: int, alpha: float, seed: int) -> LoraConfig:
    """Add an adapter to the named linear layers, in fp32 whatever the base's precision; only it is trainable.

    B starts as zeros, so that the adapted network equals the base; A is drawn with `seed`.
    """
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, init_lora_weights=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, network)
    for name, weight in network.named_parameters():
        weight.requires_grad_("lora_" in name)
        if weight.requires_grad:
            weight.data = weight.data.float()
    return config


def parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the trainable weights, the adapter's."""
    return [w for w in network.parameters() if w.requires_grad]


def save(path: Path, network: nn.Module) -> None:
    """Write the adapter in diffusers' layout, fp32, with rank and alpha in the metadata that diffusers reads."""
    state = {f"{_PREFIX}{k}": v.detach().cpu().contiguous() for k, v in get_peft_model_state_dict(network).items()}
    adapted: Any = network
    config = adapted.peft_config["default"].to_dict()
    kept = {k: v for k, v in config.items() if k in ("r", "lora_alpha", "init_lora_weights", "lora_bias")}
    kept["target_modules"] = sorted(config["target_modules"])
    # One key alone: safetensors writes several in random order, and the same adapter shall be the same bytes.
    metadata = {_METADATA: json.dumps({f"{_PREFIX}{k}": v for k, v in kept.items()}, sort_keys=True)}
    with write_aside(path) as aside:
        save_file(dict(sorted(state.items())), aside, metadata=metadata)


def load(path: Path, network: nn.Module, targets: list[str]) -> None:
    """Inject the adapter of a file into a network.

    Raises:
        WeightsError: no such file, damaged, or made for another network.
    """
    rank, alpha, state = read(path)
    inject(network, targets_of(state) or targets, rank=rank, alpha=alpha, seed=0)
    bare = {k.removeprefix(_PREFIX): v for k, v in state.items()}
    try:
        result = set_peft_model_state_dict(network, bare)
    except RuntimeError as error:
        raise WeightsError(f"{path}: made for another network: {str(error).splitlines()[0]}") from None
    if result.unexpected_keys:
        raise WeightsError(f"{path}: made for another network: no layer for {result.unexpected_keys[0]}")


def read(path: Path) -> tuple[int, float, dict[str, Tensor]]:
    """Return rank, alpha and weights of an adapter file.

    Raises:
        WeightsError: no such file, damaged, or without rank and alpha.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such adapter file; train one with `cinetune train`")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from None
    try:
        config = json.loads(metadata[_METADATA])
        rank, alpha = int(config[f"{_PREFIX}r"]), float(config[f"{_PREFIX}lora_alpha"])
    except (KeyError, ValueError):
        raise WeightsError(f"{path}: no rank and alpha in its metadata; not an adapter made by cinetune") from None
    if any(config.get(f"{_PREFIX}{key}") for key in ("rank_pattern", "alpha_pattern", "use_rslora")):
        raise WeightsError(f"{path}: has not one rank and alpha for all layers; read it with reading.read_adapter")
    return rank, alpha, state


def targets_of(state: dict[str, Tensor]) -> list[str]:
    """Return the layer names that an adapter's keys adapt, such as "attn2.to_q"."""
    names = {k.split(".lora_")[0].removeprefix(_PREFIX) for k in state if ".lora_" in k}
    return sorted({name.split(".", 2)[2] for name in names if name.startswith("blocks.")})


@contextmanager
def disabled(network: nn.Module) -> Iterator[None]:
    """Run the base alone, the adapter left out."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [m for m in network.modules() if isinstance(m, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
