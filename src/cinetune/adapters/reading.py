"""An adapter file of any of the three formats to the form in memory; what is not understood is refused by name."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cinetune import console
from cinetune.adapters.form import Adapter, Layer
from cinetune.adapters.keys import Key, format_of, some, sort_keys
from cinetune.errors import WeightsError

PEFT = "lora_adapter_metadata"
"""Where diffusers keeps rank and alpha in a file (loaders/lora_base.py); keys have the prefix `transformer.`."""
FOLDED = "cinetune_folded_scale"
"""Scales that were folded into B, where undoing it gives back every bit."""
EXPERTS = {"high": "transformer", "low": "transformer_2"}
"""The two networks of Wan2.2 A14B, for high noise and for low, by their part of a diffusers folder."""
EXPERT_ENDS = {"high": "_high_noise.safetensors", "low": "_low_noise.safetensors"}
"""How the names of their adapter files end; so do ai-toolkit's (wan22_14b_model.py, save_lora) and those of
Comfy-Org/Wan_2.2_ComfyUI_Repackaged."""
EXPERT_FILES = {expert: f"pytorch_lora_weights{end}" for expert, end in EXPERT_ENDS.items()}
"""What training writes; the keys inside are those of a model of one network."""
_PLACES = (
    "pytorch_lora_weights.safetensors",
    "adapter_model.safetensors",
    "train/best/pytorch_lora_weights.safetensors",
)


def find(path: Path) -> Path:
    """Return the one adapter file, given itself, its folder or a run folder.

    Raises:
        WeightsError: there is none, or one for each of two experts.
    """
    found = find_all(path)
    if len(found) > 1:
        raise WeightsError(f"{path}: has an adapter for each of two experts; give {found['high']} or {found['low']}")
    return next(iter(found.values()))


def find_all(path: Path) -> dict[str, Path]:
    """Return the adapter files at a file, its folder or a run folder, by the network each is for.

    Returns:
        {"": file} for a model of one network; "high", "low" or both for a model of two, by the ends of the names.

    Raises:
        WeightsError: there is none, or a folder has some of both kinds.
    """
    plain = next((file for file in [path, *(path / place for place in _PLACES)] if file.is_file()), None)
    for folder in (path, path / "train" / "best"):
        pair = {expert: folder / name for expert, name in EXPERT_FILES.items() if (folder / name).is_file()}
        if pair and plain:
            raise WeightsError(f"{folder}: has adapters for one network and for two experts; give the file")
        if pair:
            return pair
    if plain:
        return {next((expert for expert, end in EXPERT_ENDS.items() if plain.name.endswith(end)), ""): plain}
    if find_networks(path):
        raise WeightsError(f"{path}: has a network trained whole (train.method = 'full') and no adapter")
    if path.is_dir():
        raise WeightsError(f"{path}: no adapter in this folder; give the .safetensors file")
    raise WeightsError(f"{path}: no such adapter file; train one with `cinetune train`")


def find_networks(path: Path) -> dict[str, Path]:
    """Return the folders of networks that were trained whole, at a folder or a run folder.

    Returns:
        by their part of a diffusers folder, "transformer", "transformer_2" or both; nothing where there are none.
    """
    for folder in (path, path / "train" / "best"):
        found = {part: folder / part for part in EXPERTS.values() if (folder / part / "config.json").is_file()}
        if found:
            return found
    return {}


def find_weights(path: Path) -> list[Path]:
    """Return all weight files of what a run trained, adapters or whole networks.

    Raises:
        WeightsError: there are none, or a folder has adapters of both kinds.
    """
    networks = find_networks(path)
    if networks:
        return [file for folder in networks.values() for file in sorted(folder.glob("*.safetensors"))]
    return list(find_all(path).values())


def read_adapter(path: Path, *, drop: bool = False) -> Adapter:
    """Read an adapter of Wan2.1 in any format; `drop` leaves out, with a note, what `Layer` cannot hold.

    Raises:
        WeightsError: no such file, damaged or of another model; keys of two formats, or that only `drop` accepts;
            a half is missing, or the halves do not fit each other.
    """
    file = find(path)
    state, metadata = _load(file)
    keys = sort_keys(state)
    if keys.unknown:
        raise WeightsError(
            f"{file}: {len(keys.unknown)} of {len(state)} keys are no LoRA of a Wan2.1 layer: {some(keys.unknown)}; "
            "give an adapter of Wan2.1"
        )
    if keys.foreign and not drop:
        raise WeightsError(
            f"{file}: {len(keys.foreign)} of {len(state)} keys hold what A, B and alpha cannot: {some(keys.foreign)}; "
            "`adapter convert --drop` leaves them out"
        )
    if not keys.known:
        raise WeightsError(f"{file}: no LoRA weights in it; give an adapter of Wan2.1")
    if keys.foreign:
        console.note(f"{file}: left out {len(keys.foreign)} of {len(state)} keys: {some(keys.foreign)}")
    form = format_of(keys.known)
    if form is None:
        raise WeightsError(f"{file}: keys of two formats, {_pair(keys.known)}; give a file of one")
    layers = _layers(file, keys.known, state, metadata)
    return Adapter(dict(sorted(layers.items())), form)


def _load(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(file, framework="pt") as opened:
            return {key: opened.get_tensor(key) for key in opened.keys()}, opened.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file}: not a readable safetensors file ({error})") from None


def _layers(file: Path, keys: list[Key], state: dict[str, Tensor], metadata: dict[str, str]) -> dict[str, Layer]:
    parts: dict[str, dict[str, Key]] = {}
    for key in keys:
        mine = parts.setdefault(key.layer, {})
        if key.part in mine:
            raise WeightsError(f"{file}: two keys for one weight, {mine[key.part].text} and {key.text}; delete one")
        mine[key.part] = key
    config, folded = _peft_config(file, metadata), _folded_scales(file, metadata)
    layers, assumed = {}, 0
    for name, mine in parts.items():
        if not {"a", "b"} <= set(mine):
            there = next(iter(mine.values()))
            raise WeightsError(f"{file}: {there.text} has no other half; the file is incomplete")
        a, b = state[mine["a"].text], state[mine["b"].text]
        if a.ndim < 2 or a.ndim != b.ndim or b.shape[1] != a.shape[0] or any(n != 1 for n in b.shape[2:]):
            shapes = f"{list(a.shape)} and {list(b.shape)}"
            raise WeightsError(f"{file}: {name}: A and B of shapes {shapes} do not fit; the file is damaged")
        rank, rslora = a.shape[0], False
        if "alpha" in mine:
            alpha = _number(file, state, mine["alpha"].text)
        elif config:
            alpha, rslora = _configured(file, config, mine["a"].bare, rank)
        elif folded:
            scale = folded[1].get(name, folded[0])
            alpha, b = scale * rank, (b.float() / scale).to(b.dtype)
        else:
            alpha, assumed = float(rank), assumed + 1
        layers[name] = Layer(a, b, alpha, rslora, _magnitude(file, state, mine, bool(config.get("dora")), b.shape[0]))
    if assumed:
        console.note(f"{file}: no alpha for {assumed} of {len(layers)} layers; taken as the rank (scale 1)")
    return layers


def _magnitude(file: Path, state: dict[str, Tensor], mine: dict[str, Key], dora: bool, out: int) -> Tensor | None:
    """DoRA's magnitude of a layer; None of a plain LoRA."""
    if "magnitude" not in mine:
        if dora:
            raise WeightsError(
                f"{file}: {mine['a'].text} has no magnitude and its metadata says DoRA; it is incomplete"
            )
        return None
    found = state[mine["magnitude"].text].flatten()  # a convolution's has more axes
    if found.numel() != out:
        raise WeightsError(f"{file}: {mine['magnitude'].text} has not {out} numbers; the file is damaged")
    return found


def _number(file: Path, state: dict[str, Tensor], key: str) -> float:
    if state[key].numel() != 1 or not torch.isfinite(state[key]).all():
        raise WeightsError(f"{file}: {key} is not one finite number; the file is damaged")
    return float(state[key].item())


def _peft_config(file: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """Rank and alpha as peft writes them: in the metadata, or in the JSON file beside `adapter_model`."""
    beside = file.with_name("adapter_config.json")
    try:
        if PEFT in metadata:
            tree = json.loads(metadata[PEFT])
            tree = {key.removeprefix("transformer."): value for key, value in tree.items()}
        elif file.name == "adapter_model.safetensors" and beside.is_file():
            tree = json.loads(beside.read_text(encoding="utf-8"))
        else:
            return {}
        wanted = {"r": int(tree["r"]), "lora_alpha": float(tree["lora_alpha"])}
        patterns = {name: dict(tree.get(name) or {}) for name in ("rank_pattern", "alpha_pattern")}
    except (KeyError, ValueError, TypeError, AttributeError):
        raise WeightsError(f"{file}: rank and alpha in its metadata cannot be read; the file is damaged") from None
    return {**wanted, **patterns, "rslora": bool(tree.get("use_rslora")), "dora": bool(tree.get("use_dora"))}


def _configured(file: Path, config: dict[str, Any], bare: str, rank: int) -> tuple[float, bool]:
    """Alpha of a layer and whether its scale is rsLoRA's."""
    said = _by_pattern(config["rank_pattern"], bare, config["r"])
    if said != rank:
        raise WeightsError(f"{file}: {bare} has rank {rank}, its metadata says {said}; the file is damaged")
    return float(_by_pattern(config["alpha_pattern"], bare, config["lora_alpha"])), config["rslora"]


def _by_pattern(patterns: dict[str, Any], name: str, usual: Any) -> Any:
    """The first pattern that matches the end of a name counts (peft utils/other.py, get_pattern_key)."""
    hits = (value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", name))
    return next(hits, usual)


def _folded_scales(file: Path, metadata: dict[str, str]) -> tuple[float, dict[str, float]] | None:
    """The usual scale and those that differ from it."""
    if FOLDED not in metadata:
        return None
    try:
        tree = json.loads(metadata[FOLDED])
        return float(tree["usual"]), {name: float(scale) for name, scale in tree["others"].items()}
    except (KeyError, ValueError, TypeError, AttributeError):
        raise WeightsError(f"{file}: {FOLDED} in its metadata cannot be read; the file is damaged") from None


def _pair(keys: list[Key]) -> str:
    """Two keys that no format has both."""
    first = keys[0] if len(keys[0].formats) == 1 else next(key for key in keys if len(key.formats) == 1)
    return f"{first.text} and {next(key.text for key in keys if not key.formats & first.formats)}"
