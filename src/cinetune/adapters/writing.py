"""The form in memory to a file that other tools read; alpha is kept where a format has a place, else folded into B."""

import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from cinetune import console
from cinetune.adapters import key_map
from cinetune.adapters.form import Adapter, Layer, usual
from cinetune.adapters.keys import KOHYA
from cinetune.adapters.reading import FOLDED, PEFT, find, read_adapter
from cinetune.errors import WeightsError
from cinetune.files import write_aside

FORMATS = ("wan", "diffusers", "kohya")
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def convert(
    source: Path, out: Path, to: str, *, drop: bool = False, dtype: str | None = None, keep_alpha: bool = False
) -> None:
    """Write an adapter file in another format.

    Raises:
        WeightsError: the source cannot be read, holds more than a LoRA and not `drop`, or does not fit `dtype`.
        RunError: `out` cannot be written.
    """
    adapter = read_adapter(source, drop=drop)
    if drop and adapter.dora and to != "diffusers":
        console.note(f"{source}: left out DoRA's magnitudes; what is written is another adapter")
        adapter = Adapter({n: replace(layer, magnitude=None) for n, layer in adapter.layers.items()}, adapter.format)
    if out.exists() and out.samefile(find(source)):
        raise WeightsError(f"{out}: is the file to be read; give another name to write")
    where = write_adapter(out, adapter, to, dtype=dtype, keep_alpha=keep_alpha)
    console.done(f"convert: {len(adapter.layers)} layers from {adapter.format} to {to} in {out}; {where}")


def write_adapter(
    path: Path, adapter: Adapter, form: str, *, dtype: str | None = None, keep_alpha: bool = False
) -> str:
    """Write an adapter and return in words where its alpha is; same adapter, same bytes.

    Args:
        form: "wan" (alpha folded into B, or in `.alpha` keys with `keep_alpha`), "diffusers" (alpha in the
            metadata) or "kohya" (alpha in `.alpha` keys).
        dtype: "fp32", "fp16" or "bf16"; None keeps each weight's own.

    Raises:
        WeightsError: no such format or precision; a weight is too large for the precision; DoRA in another format than
            "diffusers".
        RunError: the folder cannot be written.
    """
    if form not in FORMATS:
        raise WeightsError(f"no adapter format {form!r}; choose {', '.join(FORMATS)}")
    if dtype is not None and dtype not in DTYPES:
        raise WeightsError(f"no precision {dtype!r}; choose {', '.join(DTYPES)}")
    if path.suffix != ".safetensors":
        raise WeightsError(f"{path}: give a file name that ends in .safetensors")
    if adapter.dora and form != "diffusers":
        raise WeightsError(
            f"{path}: {form} files have no one meaning for DoRA's magnitudes; write diffusers, or merge the adapter"
        )
    layers, where = dict(adapter.layers), "alpha kept in .alpha keys"
    metadata: dict[str, str] = {}
    precision = DTYPES[dtype] if dtype else None
    if form == "wan" and not keep_alpha:
        layers, metadata, where = _fold(layers, precision)
    elif form == "diffusers":
        metadata, where = {PEFT: _peft_metadata(layers)}, "alpha kept in the metadata"
    state: dict[str, Tensor] = {}
    for name, layer in layers.items():
        state |= _keys(_cast(layer, precision), name, form, keep_alpha)
    for key, weight in state.items():
        if not torch.isfinite(weight).all():
            why = f"too large for {dtype}; write it with --dtype fp32" if dtype else "the training that made it failed"
            raise WeightsError(f"{path}: {key} would not be finite: {why}")
    # At most one metadata key: safetensors writes several in random order, and the same adapter is the same bytes.
    with write_aside(path) as aside:
        save_file(dict(sorted(state.items())), aside, metadata=metadata)
    return where


def _keys(layer: Layer, name: str, form: str, keep_alpha: bool) -> dict[str, Tensor]:
    """The weights of a layer by the target's keys. An alpha is fp32, whatever the weights are."""
    stem, down, up = f"transformer.{name}", "lora_A", "lora_B"
    if form == "wan":
        stem = f"diffusion_model.{key_map.to_wan(name)}"
    elif form == "kohya":
        stem, down, up = f"{KOHYA}{key_map.to_kohya(name)}", "lora_down", "lora_up"
    state = {f"{stem}.{down}.weight": layer.a, f"{stem}.{up}.weight": layer.b}
    if form == "kohya" or (form == "wan" and keep_alpha):
        state[f"{stem}.alpha"] = torch.tensor(layer.plain_alpha, dtype=torch.float32)
    if layer.magnitude is not None:
        state[f"{stem}.lora_magnitude_vector"] = layer.magnitude.contiguous()
    return state


def _cast(layer: Layer, precision: torch.dtype | None) -> Layer:
    return replace(layer, a=layer.a.to(dtype=precision).contiguous(), b=layer.b.to(dtype=precision).contiguous())


def _fold(layers: dict[str, Layer], precision: torch.dtype | None) -> tuple[dict[str, Layer], dict[str, str], str]:
    """Layers of scale 1 with the same update; the scales go into the metadata where undoing it is exact."""
    folded, exact = {}, True
    for name, layer in layers.items():
        plain = _cast(layer, precision)
        b = (layer.b.float() * layer.scale).to(plain.b.dtype)
        exact = exact and torch.equal((b.float() / layer.scale).to(b.dtype), plain.b)
        folded[name] = Layer(layer.a, b, float(layer.rank))
    if not exact:
        scales = sorted({layer.scale for layer in layers.values()})
        console.note(f"scale {scales[0]:g} rounds the last bit of lora_B when folded in; --keep-alpha keeps every bit")
        return folded, {}, "alpha folded into lora_B"
    scale, others = usual({name: layer.scale for name, layer in layers.items()})
    kept = json.dumps({"usual": scale, "others": others}, sort_keys=True)
    return folded, {FOLDED: kept}, "alpha folded into lora_B"


def _peft_metadata(layers: dict[str, Layer]) -> str:
    """What diffusers hands to peft's LoraConfig. The scale rule is one for the whole file."""
    rslora = all(layer.rslora for layer in layers.values())
    rank, ranks = usual({name: layer.rank for name, layer in layers.items()})
    for name in [name for name in ranks if name.endswith("attn2.to_k")]:
        # An adapter without image projections gets ones of zeros from diffusers, of to_k's rank
        # (loaders/lora_pipeline.py, _maybe_expand_t2v_lora_for_i2v); peft must expect that rank.
        for twin in (name.replace("to_k", "add_k_proj"), name.replace("to_k", "add_v_proj")):
            if twin not in layers:
                ranks[twin] = ranks[name]
    alpha, alphas = usual({name: layer.alpha if rslora else layer.plain_alpha for name, layer in layers.items()})
    config = {
        "r": rank, "lora_alpha": alpha, "use_rslora": rslora, "init_lora_weights": True, "lora_bias": False,
        "rank_pattern": {f"^{name}": value for name, value in ranks.items()},
        "alpha_pattern": {f"^{name}": value for name, value in alphas.items()},
        "target_modules": list(layers),
    }  # fmt: skip
    if any(layer.magnitude is not None for layer in layers.values()):
        config["use_dora"] = True
    return json.dumps({f"transformer.{key}": value for key, value in config.items()}, sort_keys=True)
