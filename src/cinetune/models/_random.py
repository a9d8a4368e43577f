"""A part of true shape with random weights, made where it is to live: for measuring speed and memory offline."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from cinetune import plugins
from cinetune.errors import WeightsError
from cinetune.models._checking import build_empty, read_config
from cinetune.models._headers import read_json

CONFIGS = Path(__file__).parent / "configs"
STD = 0.02
"""Deviation of the weights: with norms of 1, activations of forty blocks stay far from the end of bf16."""


def published(name: str) -> Path:
    """Return the folder of a published model's configs: diffusers layout without the weights.

    Raises:
        WeightsError: no config of this name; the message lists those there are.
    """
    names = sorted(folder.name for folder in CONFIGS.iterdir() if folder.is_dir())
    if name not in names:
        raise WeightsError(
            f"no published config {name!r}; choose one of {', '.join(names)}, or give a folder with model_index.json"
        )
    return CONFIGS / name


def packaged() -> dict[str, Path]:
    """Return the folders of all published configs, by their name and by the hub id of the weights."""
    folders: dict[str, Path] = {}
    for folder in sorted(f for f in CONFIGS.iterdir() if f.is_dir()):
        folders[folder.name] = folders[read_json(folder / "model_index.json")["_name_or_path"]] = folder
    return folders


def shape_folder(name: str) -> Path:
    """Return the folder that says the shape of a model: its configs, whether or not weights lie beside them.

    Args:
        name: a published config, the hub id of one, a built-in model, or a folder in diffusers layout.

    Raises:
        WeightsError: none of these; the message lists the published configs.
    """
    known = packaged()
    if name in plugins.names("models"):
        name = plugins.load("models", name).source
    if name in known:
        return known[name]
    if (Path(name) / "model_index.json").is_file():
        return Path(name)
    return published(name)


def random_part(
    cls: type[nn.Module],
    config: Path | dict[str, Any],
    *,
    device: torch.device,
    dtype: torch.dtype,
    seed: int,
) -> nn.Module:
    """Return a part of random weights, in eval mode and frozen, each created once, on `device` and in its own dtype.

    The same seed gives the same bytes on the same kind of device.

    Args:
        cls: a model class of diffusers or transformers.
        config: the part's folder, of which only config.json is read, or the config itself.
        device: where the weights are created.
        dtype: of all but the layers that the class keeps in fp32.
        seed: of the weights.

    Raises:
        WeightsError: the config is missing, damaged or of another class.
    """
    if isinstance(config, Path):
        module = build_empty(cls, read_config(cls, config), str(config / "config.json"))
    else:
        module = build_empty(cls, config, "config")
    kept = _kept_in_fp32(cls, dtype)
    generator = torch.Generator(device).manual_seed(seed)
    made: dict[nn.Parameter, nn.Parameter] = {}  # a tied weight is one parameter in two places, and stays so
    for path, owner in module.named_modules():
        for name, empty in list(owner.named_parameters(recurse=False)):
            if empty not in made:
                of = torch.float32 if kept & {*path.split("."), name} else dtype
                weight = torch.empty(empty.shape, dtype=of, device=device)
                made[empty] = nn.Parameter(_fill(weight, owner, name, generator), requires_grad=False)
            setattr(owner, name, made[empty])
    return module.to(device).eval()  # the buffers; every weight is there already


def _fill(weight: Tensor, owner: nn.Module, name: str, generator: torch.Generator) -> Tensor:
    if "norm" in type(owner).__name__.lower() and name in ("weight", "gamma"):
        return weight.fill_(1)
    return weight.normal_(std=STD, generator=generator)


def _kept_in_fp32(cls: Any, dtype: torch.dtype) -> set[str]:
    """Return the names of modules and weights that the library keeps in fp32 when it loads as `dtype`.

    Source: diffusers models/modeling_utils.py (always); transformers modeling_utils.py, _get_dtype_plan
    (some for fp16 alone, some for bf16 too).
    """
    kept = set(cls._keep_in_fp32_modules or ())
    if issubclass(cls, PreTrainedModel):
        strict = set(cls._keep_in_fp32_modules_strict or ())
        return {torch.float16: kept | strict, torch.bfloat16: strict}.get(dtype, set())
    return kept
