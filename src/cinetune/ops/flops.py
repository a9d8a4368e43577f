"""Parameters and floating-point operations of Wan's denoising network, from the sizes in its config.json alone.

One list of linear layers, in the order in which they run, gives everything: parameters, LoRA parameters, the forward
pass and the training step. A multiply-add counts as two operations; only matrix products, convolutions and attention
count, as in torch.utils.flop_counter, with which the tests compare operation by operation.

Axes: N tokens of the video, T of the text, I of the first frame; d width of the network.
Source: diffusers 0.42 models/transformers/transformer_wan.py.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

from cinetune.errors import RecipeError, WeightsError

CLIP_TOKENS = 257
"""Of CLIP ViT-H/14 at 224 pixels."""


@dataclass(frozen=True)
class Sizes:
    """What a transformer/config.json says of the network's size. `qk_norm` is not here: diffusers ignores it."""

    num_layers: int
    num_attention_heads: int
    attention_head_dim: int
    ffn_dim: int
    in_channels: int
    out_channels: int
    text_dim: int
    freq_dim: int
    patch_size: tuple[int, int, int]
    """Latent frames, rows and columns of one token."""
    image_dim: int | None = None
    added_kv_proj_dim: int | None = None
    cross_attn_norm: bool = True
    pos_embed_seq_len: int | None = None

    @property
    def width(self) -> int:
        """Width d of a token inside the network."""
        return self.num_attention_heads * self.attention_head_dim


@dataclass(frozen=True)
class Shape:
    """What is put through the network: `batch` videos of this size with their captions."""

    frames: int
    height: int
    width: int
    """Pixels, as `height`."""
    batch: int = 1
    text_tokens: int = 512
    """Captions are padded to 512 (Wan-Video/Wan2.1 wan/modules/model.py text_len)."""
    image_tokens: int = CLIP_TOKENS
    """Counted only where the network takes them."""
    temporal: int = 4
    """Frames of one latent, after the first."""
    spatial: int = 8
    """Pixels of one latent along a side: 8, or 16 for Wan2.2 TI2V-5B."""
    time_per_token: bool = False
    """Whether each token has its own timestep, as in Wan2.2 TI2V-5B (`expand_timesteps` in model_index.json)."""

    def tokens(self, patch: tuple[int, int, int]) -> int:
        """Return N of one video: ((frames - 1) / temporal + 1) x (height / spatial) x (width / spatial) / patch.

        Raises:
            RecipeError: not a size that the model can make.
        """
        tall, wide = self.spatial * patch[1], self.spatial * patch[2]
        if self.frames < 1 or self.frames % self.temporal != 1 % self.temporal:
            legal = max(self.frames - 1, 0) // self.temporal * self.temporal + 1
            raise RecipeError(f"frames must be {self.temporal}n + 1, such as {legal}, got {self.frames}")
        for name, size, step in (("height", self.height, tall), ("width", self.width, wide)):
            if size < step or size % step:
                legal = max(size // step, 1) * step
                raise RecipeError(f"{name} must be a multiple of {step}, such as {legal}, got {size}")
        latent_frames = (self.frames - 1) // self.temporal + 1
        if latent_frames % patch[0]:
            raise RecipeError(f"frames: {latent_frames} latent frames do not divide into patches of {patch[0]}")
        return latent_frames // patch[0] * (self.height // tall) * (self.width // wide)


class Linear(NamedTuple):
    """One linear layer."""

    name: str
    inputs: int
    outputs: int
    reads: str
    """"video", "text", "image" or "time": whose tokens go through it."""


class Flops(NamedTuple):
    """One training step."""

    forward: int
    model: int
    """What the gradients need: forward pass and backward pass, nothing twice. The numerator of MFU."""
    hardware: int
    """What is carried out: with what checkpointing and the attention kernel compute again. The numerator of HFU."""


def read_sizes(config: Mapping[str, Any], source: str) -> Sizes:
    """Return the sizes in the content of a transformer/config.json; `source` names it in errors.

    Raises:
        WeightsError: not the config of a WanTransformer3DModel, or a field missing or not a number.
    """
    kind = config.get("_class_name", "WanTransformer3DModel")
    if kind != "WanTransformer3DModel":
        raise WeightsError(
            f"{source}: a {kind}, not a WanTransformer3DModel; give transformer/config.json of a Wan model"
        )
    names = (
        "num_layers", "num_attention_heads", "attention_head_dim", "ffn_dim", "in_channels", "out_channels",
        "text_dim", "freq_dim",
    )  # fmt: skip
    whole = {name: config.get(name) for name in names}
    whole["out_channels"] = whole["out_channels"] or whole["in_channels"]  # as the network does
    patch = config.get("patch_size")
    wrong = [name for name, value in whole.items() if not isinstance(value, int) or value < 1]
    if not isinstance(patch, list | tuple) or len(patch) != 3 or not all(isinstance(p, int) and p > 0 for p in patch):
        wrong.append("patch_size")
    if wrong:
        raise WeightsError(f"{source}: {', '.join(wrong)} missing or not a size; give transformer/config.json")
    return Sizes(
        patch_size=tuple(patch),  # type: ignore[arg-type]  # three whole numbers, as just checked
        image_dim=config.get("image_dim"),
        added_kv_proj_dim=config.get("added_kv_proj_dim"),
        cross_attn_norm=bool(config.get("cross_attn_norm", True)),
        pos_embed_seq_len=config.get("pos_embed_seq_len"),
        **whole,  # type: ignore[arg-type]
    )


def embeddings(sizes: Sizes) -> list[Linear]:
    """Return the linear layers before the blocks: of time, text and first frame."""
    d, at = sizes.width, "condition_embedder."
    layers = [
        Linear(f"{at}time_embedder.linear_1", sizes.freq_dim, d, "time"),
        Linear(f"{at}time_embedder.linear_2", d, d, "time"),
        Linear(f"{at}time_proj", d, 6 * d, "time"),
        Linear(f"{at}text_embedder.linear_1", sizes.text_dim, d, "text"),
        Linear(f"{at}text_embedder.linear_2", d, d, "text"),
    ]
    if sizes.image_dim:
        layers.append(Linear(f"{at}image_embedder.ff.net.0.proj", sizes.image_dim, sizes.image_dim, "image"))
        layers.append(Linear(f"{at}image_embedder.ff.net.2", sizes.image_dim, d, "image"))
    return layers


def block(sizes: Sizes, number: int) -> list[Linear]:
    """Return the linear layers of one block, in the order in which they run."""
    d, at = sizes.width, f"blocks.{number}."
    own = [Linear(f"{at}attn1.{name}", d, d, "video") for name in ("to_q", "to_k", "to_v", "to_out.0")]
    cross = [Linear(f"{at}attn2.to_q", d, d, "video")]
    cross += [Linear(f"{at}attn2.{name}", d, d, "text") for name in ("to_k", "to_v")]
    if sizes.added_kv_proj_dim:
        pair = ("add_k_proj", "add_v_proj")
        cross += [Linear(f"{at}attn2.{name}", sizes.added_kv_proj_dim, d, "image") for name in pair]
    cross.append(Linear(f"{at}attn2.to_out.0", d, d, "video"))
    wide = [
        Linear(f"{at}ffn.net.0.proj", d, sizes.ffn_dim, "video"),
        Linear(f"{at}ffn.net.2", sizes.ffn_dim, d, "video"),
    ]
    return own + cross + wide


def head(sizes: Sizes) -> Linear:
    """Return the last linear layer, from tokens to latents."""
    return Linear("proj_out", sizes.width, sizes.out_channels * prod(sizes.patch_size), "video")


def linears(sizes: Sizes) -> Iterator[Linear]:
    """Yield every linear layer, in the order in which they run."""
    yield from embeddings(sizes)
    for number in range(sizes.num_layers):
        yield from block(sizes, number)
    yield head(sizes)


def parameters(sizes: Sizes) -> dict[str, int]:
    """Return the parameters of each part: patch_embedding, condition_embedder, blocks, head."""
    d = sizes.width
    image_norms = 2 * sizes.image_dim + 2 * d if sizes.image_dim else 0
    positions = (sizes.pos_embed_seq_len or 0) * (sizes.image_dim or 0)
    # of queries and keys, of the image's keys, before cross-attention; and the table of the modulation
    one = 4 * d + (d if sizes.added_kv_proj_dim else 0) + (2 * d if sizes.cross_attn_norm else 0) + 6 * d
    return {
        "patch_embedding": sizes.in_channels * prod(sizes.patch_size) * d + d,
        "condition_embedder": sum(map(_weights, embeddings(sizes))) + image_norms + positions,
        "blocks": sizes.num_layers * (sum(map(_weights, block(sizes, 0))) + one),
        "head": _weights(head(sizes)) + 2 * d,
    }


def adapted(sizes: Sizes, pattern: str) -> list[Linear]:
    """Return the linear layers whose whole name a regular expression matches.

    Raises:
        RecipeError: not a regular expression, or one that matches no layer.
    """
    try:
        found = [layer for layer in linears(sizes) if re.fullmatch(pattern, layer.name)]
    except re.error as error:
        raise RecipeError(f"targets {pattern!r}: not a regular expression ({error})") from None
    if not found:
        raise RecipeError(f"targets {pattern!r}: no linear layer has such a name; names are like blocks.0.attn2.to_q")
    return found


def lora_parameters(layers: list[Linear], rank: int) -> int:
    """Return the trainable parameters: A is rank x inputs, B is outputs x rank (Hu et al. 2021, sec. 4.1)."""
    return sum(rank * (layer.inputs + layer.outputs) for layer in layers)


def forward_flops(sizes: Sizes, shape: Shape) -> int:
    """Return the operations of one forward pass of the base network (FLOP)."""
    return _steps(sizes, shape, frozenset(), 0, full=False, learns=False).forward


def training_flops(
    sizes: Sizes, shape: Shape, *, layers: list[Linear] | None, rank: int = 0, checkpointing: bool
) -> Flops:
    """Return the operations of one forward and backward pass (FLOP).

    A frozen layer needs no gradient of its weights, and before the first trained layer none of its input either, so
    a LoRA step is less than three forward passes.

    Args:
        layers: what the LoRA adapts; None trains every weight.
        rank: of the LoRA.
        checkpointing: whether each block is computed again in the backward pass.
    """
    names = frozenset(layer.name for layer in layers or ())
    return _steps(sizes, shape, names, rank, full=layers is None, learns=True, again=checkpointing)


def sampler_flops(sizes: Sizes, shape: Shape, *, steps: int, guidance: float) -> int:
    """Return the operations of all forward passes of one video (FLOP); guidance above 1 doubles them."""
    return steps * (2 if guidance > 1 else 1) * forward_flops(sizes, shape)


def _weights(layer: Linear) -> int:
    return layer.inputs * layer.outputs + layer.outputs


def _steps(
    sizes: Sizes, shape: Shape, names: frozenset[str], rank: int, *, full: bool, learns: bool, again: bool = False
) -> Flops:
    """Walk through the network once, keeping account of which streams carry a gradient."""
    n, d, batch = shape.tokens(sizes.patch_size), sizes.width, shape.batch
    tokens = {
        "video": n * batch,
        "text": shape.text_tokens * batch,
        "image": shape.image_tokens * batch,
        "time": batch * (n if shape.time_per_token else 1),
    }
    carries = dict.fromkeys(tokens, False)
    forward = backward = kernel = repeated = 0

    def linear(layer: Linear) -> bool:
        """Count a layer; return whether its output carries a gradient."""
        nonlocal forward, backward
        rows, gradient, trained = tokens[layer.reads], carries[layer.reads], layer.name in names
        base = 2 * rows * layer.inputs * layer.outputs
        forward += base
        backward += base * (gradient + full)
        if trained:
            down, up = 2 * rows * layer.inputs * rank, 2 * rows * rank * layer.outputs
            forward += down + up
            backward += down * (1 + gradient) + up * 2
        return gradient or trained or full

    def attention(keys: int, q: bool, k: bool, v: bool) -> bool:
        """Count softmax(q k) v; four products back: two for v and the scores, one each for q and k."""
        nonlocal forward, backward, kernel
        product = 2 * batch * n * keys * d
        forward += 2 * product
        needed = v + (q or k) + q + k
        backward += product * needed
        kernel += product * (5 - needed) * bool(needed)  # a fused kernel computes the scores again, and all gradients
        return bool(needed)

    patch = 2 * tokens["video"] * sizes.in_channels * prod(sizes.patch_size) * d
    forward, backward = patch, patch * full
    for layer in embeddings(sizes):
        if layer.reads == "image" and not sizes.added_kv_proj_dim:
            continue
        carries[layer.reads] = linear(layer)
    carries["video"] = full or carries["time"]
    for number in range(sizes.num_layers):
        begun = forward
        flow = {layer.name.split(".", 2)[2]: layer for layer in block(sizes, number)}
        q, k, v = (linear(flow[f"attn1.{name}"]) for name in ("to_q", "to_k", "to_v"))
        seen, before = attention(n, q, k, v), carries["video"]
        carries["video"] = seen
        carries["video"] = linear(flow["attn1.to_out.0"]) or before
        before = carries["video"]
        q, k, v = (linear(flow[f"attn2.{name}"]) for name in ("to_q", "to_k", "to_v"))
        seen = attention(shape.text_tokens, q, k, v)
        if sizes.added_kv_proj_dim:
            k, v = (linear(flow[f"attn2.{name}"]) for name in ("add_k_proj", "add_v_proj"))
            seen = attention(shape.image_tokens, q, k, v) or seen
        carries["video"] = seen
        carries["video"] = linear(flow["attn2.to_out.0"]) or before
        before = carries["video"]
        carries["video"] = linear(flow["ffn.net.0.proj"])
        carries["video"] = linear(flow["ffn.net.2"]) or before
        repeated += (forward - begun) * (again and carries["video"])
    linear(head(sizes))
    model = forward + backward * learns
    return Flops(forward, model, model + (kernel + repeated) * learns)
