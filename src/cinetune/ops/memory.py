"""Peak memory of a training step and of a forward pass, as named terms in bytes. An estimate, from sizes alone.

What autograd keeps is counted tensor by tensor as PyTorch runs diffusers' blocks without compilation, with a fused
attention kernel (no N x N matrix) and RMSNorm in fp32 pieces; the fused RMSNorm of CUDA builds keeps less. The tests
compare with the saved tensors and with the peak of live tensors of the real network on a CPU. What no test here can
see is said by name: CUDA_CONTEXT and ALLOCATOR_SLACK are assumptions.
"""

from dataclasses import dataclass
from math import prod
from typing import Literal

from cinetune.errors import RecipeError
from cinetune.ops.flops import Linear, Shape, Sizes, block, embeddings, lora_parameters, parameters

Precision = Literal["fp32", "bf16", "fp8"]
"""Of the frozen base. fp8: linear layers stored as float8, computed in bf16 (diffusers' layerwise casting)."""
FP32 = 4
CUDA_CONTEXT = 800 * 2**20
"""Bytes outside PyTorch's allocator: CUDA context, cuBLAS and cuDNN. Assumed."""
ALLOCATOR_SLACK = 0.05
"""Share of the activations that fragmentation adds. Assumed."""

ACTIVATIONS = ("block inputs", "block computed again", "activations of all blocks", "head", "embeddings", "workspace")
"""The terms that grow with the video."""

Terms = dict[str, int]
"""Bytes by name; the peak is their sum."""


@dataclass(frozen=True)
class Setup:
    """How the network is held and trained."""

    precision: Precision = "bf16"
    layers: tuple[Linear, ...] | None = ()
    """What the LoRA adapts; () for none, None for training every weight."""
    rank: int = 0
    checkpointing: bool = True
    shards: int = 1
    """GPUs over which FSDP2 shards weights, gradients and optimiser."""
    ulysses: int = 1
    """GPUs over which the tokens of one video are split; must divide heads and tokens."""
    offload: bool = False
    """Blocks wait in host memory and come one ahead of time (forward passes only)."""

    @property
    def compute(self) -> int:
        """Bytes of a number in the activations."""
        return 4 if self.precision == "fp32" else 2


def weight_bytes(sizes: Sizes, precision: Precision) -> Terms:
    """Return the bytes of the base's weights: "blocks" and "outside" of them.

    diffusers keeps time embedding, norms with weights and modulation tables in fp32, whatever the precision.
    """
    d, count = sizes.width, parameters(sizes)
    time = sum(_weights(layer) for layer in embeddings(sizes) if ".time_embedder." in layer.name)
    image_norms = 2 * sizes.image_dim + 2 * d if sizes.image_dim else 0
    kept_inside = sizes.num_layers * (6 * d + (2 * d if sizes.cross_attn_norm else 0))
    kept_outside = time + image_norms + 2 * d
    outside = sum(count.values()) - count["blocks"]
    if precision == "fp32":
        return {"blocks": FP32 * count["blocks"], "outside": FP32 * outside}
    held = {
        "blocks": 2 * count["blocks"] + 2 * kept_inside,
        "outside": 2 * outside + 2 * kept_outside,
    }
    if precision == "fp8":  # diffusers leaves embeddings, norms and head out
        held["blocks"] -= sizes.num_layers * sum(map(_weights, block(sizes, 0)))
    return held


def training_memory(sizes: Sizes, shape: Shape, setup: Setup) -> Terms:
    """Return the terms of the peak of one training step on one GPU (bytes).

    Raises:
        RecipeError: the size is not legal, or heads or tokens do not divide by `ulysses`.
    """
    kept = kept_by_blocks(sizes, shape, setup)
    tokens, one = _tokens(sizes, shape, setup), _one_block(sizes, setup)
    terms = _state(sizes, setup)
    if setup.precision == "fp8":  # autograd holds on to the bf16 copies of the weights until their block is done
        terms["weights cast to bf16"] = one if setup.checkpointing else one * sizes.num_layers
    if setup.checkpointing:
        terms["block inputs"] = sizes.num_layers * tokens * sizes.width * setup.compute
        terms["block computed again"] = max(kept)
    else:
        terms["activations of all blocks"] = sum(kept)
        # the last norm's input, and its result where the head trains; gone when a block is computed again
        learnt = (setup.layers is None) * (FP32 + setup.compute)
        terms["head"] = tokens * (sizes.width * (FP32 + learnt) + 2 * FP32)
    terms["embeddings"] = _outside_blocks(sizes, shape, setup)
    terms["workspace"] = _workspace(sizes, shape, setup, keeps=True)
    return _with_overhead(terms)


def forward_memory(sizes: Sizes, shape: Shape, setup: Setup) -> Terms:
    """Return the terms of the peak of one forward pass without gradients on one GPU (bytes).

    Raises:
        RecipeError: the size is not legal, or heads or tokens do not divide by `ulysses`.
    """
    terms = _state(sizes, setup, learns=False)
    if setup.precision == "fp8":
        d = sizes.width
        terms["weights cast to bf16"] = 2 * d * max(sizes.ffn_dim, d)
    terms["embeddings"] = _outside_blocks(sizes, shape, setup)
    terms["workspace"] = _workspace(sizes, shape, setup, keeps=False)
    return _with_overhead(terms)


def kept_by_blocks(sizes: Sizes, shape: Shape, setup: Setup) -> list[int]:
    """Return what autograd keeps of each block for the backward pass, without checkpointing (bytes)."""
    inside: dict[int, set[str]] = {}
    flows, alike, result = setup.layers is None, dict[tuple[frozenset[str], bool], int](), []
    for layer in setup.layers or ():
        part, _, rest = layer.name.partition(".")
        if part == "blocks":
            place, _, name = rest.partition(".")
            inside.setdefault(int(place), set()).add(name)
        elif part == "condition_embedder":
            flows = True  # an embedding trains, so the first block's input already carries a gradient
    for number in range(sizes.num_layers):
        trained = frozenset(inside.get(number, ()))
        if (trained, flows) not in alike:
            alike[trained, flows] = _kept(sizes, shape, setup, trained, flows=flows)
        result.append(alike[trained, flows])
        flows = flows or bool(trained)
    return result


def _kept(sizes: Sizes, shape: Shape, setup: Setup, trained: frozenset[str], *, flows: bool) -> int:
    """What one block keeps; `flows`: its input carries a gradient. In the order in which things are computed."""
    n, d, f, c, full = _tokens(sizes, shape, setup), sizes.width, sizes.ffn_dim, setup.compute, setup.layers is None
    text, image = shape.batch * shape.text_tokens, shape.batch * shape.image_tokens
    half = c == 2
    wide, statistics, lse = FP32 * n * d, 2 * FP32 * n, FP32 * n * sizes.num_attention_heads

    def adapter(name: str, rows: int, inputs: int, own: bool = True) -> int:
        """The fp32 input of A (a copy where the base is in half precision) and of B."""
        return (name in trained) * FP32 * rows * (inputs * (half or own) + setup.rank)

    def has(*names: str) -> bool:
        return full or any(name in trained for name in names)

    def normed(rows: int, gradient: bool) -> int:
        """RMSNorm: its input in fp32 and one number a row; with trained weights also the result."""
        return gradient * FP32 * rows * (d + 1 + d * full)

    total = 0
    # 1. self-attention
    modulated = wide + statistics + full * (wide + c * n * d) + shape.time_per_token * wide
    total += flows * modulated
    first = [name for name in ("attn1.to_q", "attn1.to_k", "attn1.to_v") if name in trained]
    total += sum(adapter(name, n, d, own=name == first[0]) for name in first)
    q, k, v = (flows or has(f"attn1.to_{name}") for name in "qkv")
    total += normed(n, q) + normed(n, k) + (q or k or v) * (4 * c * n * d + lse)
    total += adapter("attn1.to_out.0", n, d, own=False) + full * c * n * d
    flows = flows or q or k or v or has("attn1.to_out.0")
    # 2. cross-attention
    if sizes.cross_attn_norm:
        total += flows * (wide + statistics) + full * c * n * d
    total += adapter("attn2.to_q", n, d)
    q, k, v = ((flows and name == "q") or has(f"attn2.to_{name}") for name in "qkv")
    total += normed(n, q)
    total += (q or k or v) * (2 * c * n * d + lse + 2 * c * text * d)
    total += adapter("attn2.to_k", text, d, own=False) + adapter("attn2.to_v", text, d, own=False) + normed(text, k)
    if sizes.added_kv_proj_dim:
        k, v = has("attn2.add_k_proj"), has("attn2.add_v_proj")
        total += sum(adapter(f"attn2.add_{x}_proj", image, sizes.added_kv_proj_dim, own=False) for x in "kv")
        total += normed(image, k) + (q or k or v) * (c * n * d + lse + 2 * c * image * d) + full * c * n * d
    total += adapter("attn2.to_out.0", n, d, own=bool(sizes.added_kv_proj_dim))
    flows = flows or q or k or v or has("attn2.to_out.0")
    # 3. feed-forward
    total += flows * (modulated + shape.time_per_token * 6 * wide)  # and the modulation of both halves, one tensor
    total += adapter("ffn.net.0.proj", n, d) + (flows or has("ffn.net.0.proj")) * c * n * f
    total += adapter("ffn.net.2", n, f) + full * (c * n * f + wide)
    return total


def _state(sizes: Sizes, setup: Setup, *, learns: bool = True) -> Terms:
    """Weights, and what the optimiser needs."""
    terms: Terms = {}
    if setup.layers is None:  # masters in fp32, computed in bf16
        count = sum(parameters(sizes).values())
        terms["weights"] = FP32 * count // setup.shards
        if setup.shards == 1:
            terms["weights cast to bf16"] = 2 * count
        trained = count
    else:
        held = weight_bytes(sizes, setup.precision)
        if setup.offload:
            terms["weights"] = held["outside"] // setup.shards
            terms["blocks on the GPU"] = 2 * held["blocks"] // sizes.num_layers
        else:
            terms["weights"] = sum(held.values()) // setup.shards
        trained = lora_parameters(list(setup.layers), setup.rank)
        terms["adapter"] = FP32 * trained // setup.shards
    if setup.shards > 1:
        terms["blocks gathered"] = 2 * _one_block(sizes, setup)
    if learns:
        terms["gradients"] = FP32 * trained // setup.shards
        terms["AdamW states"] = 2 * FP32 * trained // setup.shards
    return {name: size for name, size in terms.items() if size}


def _outside_blocks(sizes: Sizes, shape: Shape, setup: Setup) -> int:
    """Latents, embedded text and image, time and positions, which live as long as the pass."""
    n, d, c = _tokens(sizes, shape, setup), sizes.width, setup.compute
    context = shape.batch * (shape.text_tokens + shape.image_tokens * bool(sizes.added_kv_proj_dim))
    latents = n * setup.ulysses * prod(sizes.patch_size) * (sizes.in_channels + 3 * sizes.out_channels) * FP32
    time = (n if shape.time_per_token else shape.batch) * 7 * d * c
    positions = 2 * FP32 * n // shape.batch * sizes.attention_head_dim
    return latents + time + positions + context * (2 * d + sizes.text_dim) * c


def _workspace(sizes: Sizes, shape: Shape, setup: Setup, *, keeps: bool) -> int:
    """The largest sum of tensors that are alive inside a block and that nothing keeps.

    In half precision, norms, modulation and rotary positions are computed in fp32: three such tensors beside five
    in the precision of the pass, one of which autograd keeps anyway. A LoRA layer holds its result and two products
    in fp32 (and its input, where nothing keeps that).
    """
    n, d, f, c = _tokens(sizes, shape, setup), sizes.width, sizes.ffn_dim, setup.compute
    half = c == 2
    most = max(n * d * (3 * FP32 * half + (4 if half and keeps else 5) * c), n * (2 * f + 3 * d) * c)
    for layer in setup.layers or ():
        if layer.reads == "video" and layer.name.startswith("blocks."):
            unkept = 0 if keeps else FP32 * layer.inputs + 3 * c * d
            most = max(most, n * ((2 * FP32 + c) * layer.outputs + unkept))
    if shape.time_per_token and not keeps:
        most += 6 * FP32 * n * d
    if setup.ulysses > 1:  # what is sent and what is received for query, key, value and result
        most += 4 * c * n * d
    return most


def _with_overhead(terms: Terms) -> Terms:
    slack = ALLOCATOR_SLACK * sum(terms.get(name, 0) for name in ACTIVATIONS)
    return {**terms, "allocator slack": round(slack), "CUDA context": CUDA_CONTEXT}


def _tokens(sizes: Sizes, shape: Shape, setup: Setup) -> int:
    """Tokens of the whole batch on one GPU."""
    tokens, degree = shape.tokens(sizes.patch_size), setup.ulysses
    if sizes.num_attention_heads % degree or tokens % degree:
        raise RecipeError(f"ulysses {degree}: must divide {sizes.num_attention_heads} heads and {tokens} tokens")
    return shape.batch * tokens // degree


def _one_block(sizes: Sizes, setup: Setup) -> int:
    return setup.compute * (parameters(sizes)["blocks"] // sizes.num_layers)


def _weights(layer: Linear) -> int:
    return layer.inputs * layer.outputs + layer.outputs
