"""Memory and speed of the network, set up once: between putting the adapter in and handing it to the engine.

network = model.load_transformer(first_place(recipe, device), load_dtype(recipe))
...                                     the adapter is put in
fast = set_up(network, recipe, model, shapes, ranks, device)
network = engine.prepare(network, ...)
meter = Meter(fast.work, device, ...)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from cinetune import console
from cinetune.errors import RecipeError
from cinetune.models._facts import Facts
from cinetune.models._short_text import PADDED_LENGTH
from cinetune.models._velocity import parts
from cinetune.ops.flops import CLIP_TOKENS
from cinetune.recipe import Recipe
from cinetune.speed.attention import Asked, choose_attention
from cinetune.speed.compiling import compile_blocks
from cinetune.speed.offload import offload_blocks
from cinetune.speed.quantised import quantise
from cinetune.train.engines._contract import Ranks
from cinetune.train.recompute import affordable, checkpoint_blocks, free_on_gpu
from cinetune.train.trainable import load_dtype
from cinetune.train.work import Work, describe_work

NO_CHECKPOINTS = "needs train.checkpointing: blocks that are not computed again need their weights all the time"


@dataclass(frozen=True)
class Fast:
    """What was chosen."""

    work: Work
    """For the meter."""
    attention: str


def first_place(recipe: Recipe, device: torch.device) -> torch.device:
    """Return where the base is loaded: in main memory first where the device will not hold all of it in bf16."""
    small = recipe.train.precision in ("fp8", "int8") or recipe.system.offload_blocks
    return torch.device("cpu") if small else device


def set_up(
    network: nn.Module,
    recipe: Recipe,
    facts: Facts,
    latents: Sequence[int],
    ranks: Ranks,
    device: torch.device,
    *,
    agree: Callable[[int], int] = int,
) -> Fast:
    """Quantise, offload, checkpoint, choose the attention and compile, as the recipe says; say what was chosen.

    Args:
        network: with its adapter, where `first_place` said.
        recipe: of the run.
        facts: of the model.
        latents: b c f h w of the largest micro-batch.
        ranks: of this process.
        device: of this process; the network is there afterwards, but for an engine that shards it.
        agree: the smallest of all processes' numbers.

    Raises:
        RecipeError: what is asked for does not go together, or is not here.
        RunError: what compiles the block is missing.
    """
    settings, system, work = recipe.train, recipe.system, describe_work(network, facts)
    blocks = work.sizes.num_layers
    kept, offloaded = system.keep_blocks, system.offload_blocks
    if not settings.checkpointing and (offloaded or kept not in ("auto", 0)):
        raise RecipeError(f"system.{'offload_blocks' if offloaded else 'keep_blocks'} {NO_CHECKPOINTS}")
    sharded = ranks.world > 1 and system.engine not in ("single", "ddp")
    if offloaded and sharded:
        raise RecipeError("system.offload_blocks: engine 'auto' would shard the blocks; give system.engine = 'ddp'")
    if offloaded + (0 if kept == "auto" else kept) > blocks:
        raise RecipeError(f"system.keep_blocks and offload_blocks are more than the {blocks} blocks there are")
    if settings.precision in ("fp8", "int8"):
        count = quantise(network, settings.precision, device, fp8_matmul=settings.fp8_matmul)
        how = "stored and multiplied" if settings.fp8_matmul else "stored"
        console.note(f"train: {count} frozen linear layers {how} in {settings.precision}, all else in bf16")
    held = [offload_blocks(part, offloaded, device) if offloaded else None for part in parts(network)]
    if offloaded:
        console.note(f"train: frozen weights of {offloaded} of {blocks} blocks wait in main memory")
    if not sharded:
        for part, away in zip(parts(network), held, strict=True):
            _move(part, device, set(away.places) if away else set())
    shape = work.shape(latents, (PADDED_LENGTH,), CLIP_TOKENS if facts.image_tokens else 0)
    if settings.checkpointing:
        if kept == "auto":
            spend = device.type == "cuda" and not offloaded
            free = free_on_gpu(device) if spend else 0
            there = next(network.parameters()).device.type == "cuda"
            kept = affordable(
                work, shape, half=load_dtype(recipe) == torch.bfloat16, free=free, there=there,
                shards=ranks.world if sharded else 1, ulysses=ranks.context_parallel,
            ) if spend else 0  # fmt: skip
        work = replace(work, checkpointing=True, kept=agree(kept))
        for part, away in zip(parts(network), held, strict=True):
            any_part: Any = part
            staying = [block for block in any_part.blocks if not away or block not in away.places]
            checkpoint_blocks(part, frozenset(staying[len(staying) - work.kept :]), away)
        console.note(f"train: {blocks - work.kept} of {blocks} blocks are computed again in the backward pass")
    heads = work.sizes.num_attention_heads // ranks.context_parallel
    asked = Asked(
        shape.batch, shape.tokens(work.sizes.patch_size), heads, work.sizes.attention_head_dim, load_dtype(recipe),
        device, ranks.context_parallel > 1,
    )  # fmt: skip
    attention = choose_attention(
        network, system.attention, asked, seed=recipe.seed, verb="train", option="system.attention"
    )
    if system.compile:
        for part in parts(network):
            compile_blocks(part, device)
    return Fast(work, attention)


def _move(part: nn.Module, device: torch.device, away: set[nn.Module]) -> None:
    """Bring all of a network to the device but the blocks whose weights come and go."""
    any_part: Any = part
    for name, child in part.named_children():
        if name != "blocks":
            child.to(device)
    for block in any_part.blocks:
        if block not in away:
            block.to(device)
    for tensor in (*part.parameters(recurse=False), *part.buffers(recurse=False)):
        tensor.data = tensor.data.to(device)
