"""What a layer of Wan2.1 is called in diffusers, in the original code (and ComfyUI), and in kohya's files.

Sources: diffusers models/transformers/transformer_wan.py and Wan-Video/Wan2.1 wan/modules/model.py (module names),
kohya-ss/musubi-tuner networks/lora.py (`lora_unet_` and the module's path with underscores).
The diffusers name is the one that the package uses inside.
"""

import re

ATTENTION = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o"}
BLOCK = {
    **{f"attn1.{ours}": f"self_attn.{theirs}" for ours, theirs in ATTENTION.items()},
    **{f"attn2.{ours}": f"cross_attn.{theirs}" for ours, theirs in ATTENTION.items()},
    "attn2.add_k_proj": "cross_attn.k_img",
    "attn2.add_v_proj": "cross_attn.v_img",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
}
"""diffusers name to original name, below `blocks.N.`."""
WHOLE = {
    "patch_embedding": "patch_embedding",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.image_embedder.ff.net.0.proj": "img_emb.proj.1",
    "condition_embedder.image_embedder.ff.net.2": "img_emb.proj.3",
    "proj_out": "head.head",
}
"""diffusers name to original name, outside the blocks."""
FROM_WAN = {theirs: ours for ours, theirs in (BLOCK | WHOLE).items()}
FROM_KOHYA = {theirs.replace(".", "_"): ours for ours, theirs in (BLOCK | WHOLE).items()}
"""Whole names, so that `cross_attn_k_img` cannot be taken for `cross_attn_k`."""


def to_wan(layer: str) -> str:
    """Return the original name of a layer given by its diffusers name."""
    number, short = split(layer)
    return WHOLE[short] if number is None else f"blocks.{number}.{BLOCK[short]}"


def to_kohya(layer: str) -> str:
    """Return kohya's name of a layer given by its diffusers name, without `lora_unet_`."""
    return to_wan(layer).replace(".", "_")


def from_diffusers(name: str) -> str | None:
    """Return the name itself where it is a layer of Wan2.1, else None."""
    number, short = split(name)
    return name if short in (WHOLE if number is None else BLOCK) else None


def from_wan(name: str) -> str | None:
    """Return the diffusers name of a layer given by its original name, or None."""
    return _renamed(name, r"blocks\.(\d+)\.(.+)", FROM_WAN)


def from_kohya(name: str) -> str | None:
    """Return the diffusers name of a layer given by kohya's name without `lora_unet_`, or None."""
    return _renamed(name, r"blocks_(\d+)_(.+)", FROM_KOHYA)


def split(layer: str) -> tuple[int | None, str]:
    """Return block number and name within the block; outside the blocks None and the whole name."""
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)", layer)
    return (int(match[1]), match[2]) if match else (None, layer)


def _renamed(name: str, block: str, table: dict[str, str]) -> str | None:
    match = re.fullmatch(block, name)
    ours = table.get(match[2] if match else name)
    if ours is None or (ours in BLOCK) != bool(match):
        return None
    return f"blocks.{match[1]}.{ours}" if match else ours
