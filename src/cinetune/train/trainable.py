"""What is trained: an adapter on the frozen network, or the network itself; and how it is saved."""

import functools
import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from huggingface_hub import save_torch_state_dict
from torch import Tensor, nn

from cinetune.adapters import lora
from cinetune.adapters.reading import EXPERT_FILES, EXPERTS
from cinetune.adapters.targets import choose
from cinetune.errors import RecipeError
from cinetune.files import write_text
from cinetune.models._contract import VideoModel
from cinetune.models._velocity import Experts
from cinetune.recipe import Lora, Recipe
from cinetune.train import nested

SHARD = 5 * 10**9
"""Largest size of one weight file of a whole network, bytes."""
IMAGE_PROJECTIONS = r".*\.add_[kv]_proj"


def load_dtype(recipe: Recipe) -> torch.dtype:
    """Return the precision to load the network in: that of the frozen base, and fp32 for weights that are trained."""
    fp32 = recipe.train.method == "full" or recipe.train.precision == "fp32"
    return torch.float32 if fp32 else torch.bfloat16


def make_trainable(network: nn.Module, model: VideoModel, recipe: Recipe) -> dict[str, nn.Module]:
    """Say on a loaded network what is trained: put a fresh adapter on it, or free all its weights, in fp32.

    With precision bf16 the arithmetic of the latter is in bf16 all the same.

    Returns:
        the networks that are trained, one or of `Experts` those that the recipe names, by the name of the file that
        each is saved to, or with full of the folder.

    Raises:
        RecipeError: the recipe's targets or ranks name no layer, or name one twice.
    """
    full = recipe.train.method == "full"
    parts = {EXPERTS["high"] if full else lora.FILE_NAME: (network, 0)}
    if isinstance(network, Experts):
        wanted = EXPERTS if recipe.lora.experts == "both" else [recipe.lora.experts]
        names, named = EXPERTS if full else EXPERT_FILES, enumerate(network.by_name().items())
        parts = {names[name]: (part, number) for number, (name, part) in named if name in wanted}
    network.requires_grad_(False)
    for part, number in parts.values():
        if full:
            part.float().requires_grad_(True)
            if recipe.train.precision == "bf16":
                _compute_in_bf16(part)
        else:  # each expert has a seed of its own, the same whether or not the other is trained too
            _adapt(part, model, recipe.lora, seed=recipe.seed + number)
        if recipe.train.nested_ranks:
            nested.prepare(part)
        if recipe.train.checkpointing:
            part.enable_gradient_checkpointing()  # type: ignore[operator]
    return {name: part for name, (part, _) in parts.items()}


def named_trainable(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trainable weights by name."""
    return {name: weight for name, weight in network.named_parameters() if weight.requires_grad}


def save_trained(folder: Path, parts: Mapping[str, nn.Module], weights: Mapping[str, Tensor], recipe: Recipe) -> None:
    """Write what was trained: adapter files in diffusers' layout, or whole networks as diffusers' folders, in fp32.

    Args:
        folder: to write into; the caller puts it in its place whole (`files.folder_aside`).
        parts: what `make_trainable` returned.
        weights: all trained weights, whole, by their name in the network that `make_trainable` was given.
    """
    prefixes = {EXPERT_FILES[name]: f"{part}." for name, part in EXPERTS.items()} | {
        p: f"{p}." for p in EXPERTS.values()
    }
    for name, part in parts.items():
        prefix = prefixes.get(name, "")
        mine = {key.removeprefix(prefix): w for key, w in weights.items() if key.startswith(prefix)}
        mine = mine or dict(weights)  # the one network of a model of one is called as the first of two
        if recipe.train.method == "full":
            _save_network(folder / name, part, mine)
        else:
            lora.save(folder / name, part, mine)


def _adapt(part: nn.Module, model: VideoModel, settings: Lora, *, seed: int) -> None:
    targets = model.adapter_targets(image_projections=settings.image_projections)
    whole = choose(part, settings.targets)
    if settings.targets != "cross-attention":
        targets = [n for n in whole if settings.image_projections or not re.fullmatch(IMAGE_PROJECTIONS, n)]
        whole = targets
    ranks = _ranks(whole, settings.ranks)
    scale = settings.alpha / settings.rank
    alphas = {} if settings.rslora else {name: scale * rank for name, rank in ranks.items()}
    lora.inject(
        part, targets, rank=settings.rank, alpha=settings.alpha, seed=seed, ranks=ranks, alphas=alphas,
        rslora=settings.rslora, dora=settings.dora,
    )  # fmt: skip


def _compute_in_bf16(part: Any) -> None:
    """Let the arithmetic of a network of fp32 weights be that of a bf16 one, which keeps its time embedding in fp32."""
    # The norm of queries and keys says so on a CPU, where autocast leaves its fp32 weights beside a bf16 input.
    warnings.filterwarnings("ignore", "Mismatch dtype between input and weight", UserWarning)
    whole, time = part.forward, part.condition_embedder.time_embedder.forward

    @functools.wraps(whole)
    def forward(*args: Any, hidden_states: Tensor, **kwargs: Any) -> Any:
        # Without autocast's cache: each weight is used once, and copies of all of them would stay.
        with torch.autocast(hidden_states.device.type, torch.bfloat16, cache_enabled=False):
            return whole(*args, hidden_states=hidden_states, **kwargs)

    @functools.wraps(time)
    def forward_time(sample: Tensor) -> Any:
        with torch.autocast(sample.device.type, enabled=False):
            return time(sample)

    part.forward, part.condition_embedder.time_embedder.forward = forward, forward_time


def _ranks(targets: list[str], table: Mapping[str, int]) -> dict[str, int]:
    """Layers with a rank of their own."""
    found: dict[str, int] = {}
    for pattern, rank in table.items():
        try:
            matched = [name for name in targets if re.fullmatch(pattern, name)]
        except re.error as error:
            raise RecipeError(f"lora.ranks {pattern!r}: not a regular expression ({error})") from None
        if not matched:
            raise RecipeError(f"lora.ranks {pattern!r}: no layer of lora.targets has such a name, such as {targets[0]}")
        twice = [name for name in matched if found.get(name, rank) != rank]
        if twice:
            raise RecipeError(f"lora.ranks: {twice[0]} matches two entries of the table; make them exclude each other")
        found |= dict.fromkeys(matched, rank)
    return found


def _save_network(folder: Path, part: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Write config.json and the weights in shards, as diffusers' save_pretrained does of a network that is whole."""
    any_part: Any = part
    config = json.loads(any_part.to_json_string())
    config.pop("_name_or_path", None)  # a path of this machine is nobody's business
    write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
    state = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    pattern = SAFETENSORS_WEIGHTS_NAME.replace(".safetensors", "{suffix}.safetensors")
    save_torch_state_dict(state, folder, filename_pattern=pattern, max_shard_size=SHARD)
