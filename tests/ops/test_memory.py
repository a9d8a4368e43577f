"""Against the real network: what autograd saves, what lives at the peak, and the bytes of its weights.

Measured on a CPU, whose attention is a fused kernel as on a GPU. No GPU was there: CUDA_CONTEXT and ALLOCATOR_SLACK
are assumptions and not tested against anything.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from cinetune.doctor.vae import LiveBytes
from cinetune.errors import RecipeError
from cinetune.ops.flops import Shape, adapted, lora_parameters, parameters, read_sizes
from cinetune.ops.memory import (
    ACTIVATIONS,
    ALLOCATOR_SLACK,
    CUDA_CONTEXT,
    Setup,
    Terms,
    forward_memory,
    kept_by_blocks,
    training_memory,
    weight_bytes,
)
from ops.wan_configs import ALL_LINEAR, ATTENTION, CROSS, I2V_14B, SMALL_I2V, SMALL_T2V
from ops.wan_networks import RANK, build, inputs

SHAPE = Shape(17, 192, 256)


def setup(config: dict[str, Any], pattern: str | None, **changes: Any) -> Setup:
    layers = None if pattern is None else tuple(adapted(read_sizes(config, "x"), pattern))
    return Setup(layers=layers, rank=RANK, **changes)


def activations(terms: Terms) -> int:
    return sum(terms.get(name, 0) for name in ACTIVATIONS)


def saved(network: Any, given: dict[str, Any]) -> int:
    """Bytes of the distinct storages that autograd keeps, without the weights."""
    own = {w.untyped_storage()._cdata for w in (*network.parameters(), *network.buffers())}
    kept: dict[int, Any] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = network(**given)[0]
    assert out.requires_grad
    return sum(int(storage.nbytes()) for storage in kept.values())


@pytest.mark.parametrize("half", [True, False], ids=["bf16", "fp32"])
@pytest.mark.parametrize("pattern", [CROSS, ATTENTION, ALL_LINEAR, None], ids=["cross", "attention", "all", "full"])
@pytest.mark.parametrize("config", [SMALL_I2V, SMALL_T2V], ids=["I2V", "T2V"])
def test_saved_tensors_without_checkpointing(config: dict[str, Any], pattern: str | None, half: bool) -> None:
    """Within 4 %: of what lies outside the blocks, some is saved and some is not."""
    network, given = build(config, pattern, half=half), inputs(config, SHAPE, half=half)
    plan = setup(config, pattern, precision="bf16" if half else "fp32", checkpointing=False)
    terms = training_memory(read_sizes(config, "x"), SHAPE, plan)
    assert terms["activations of all blocks"] + terms["head"] == pytest.approx(saved(network, given), rel=0.04)


def test_saved_tensors_with_a_timestep_for_each_token() -> None:
    shape = replace(SHAPE, time_per_token=True)
    network, given = build(SMALL_T2V, CROSS, half=True), inputs(SMALL_T2V, shape, half=True)
    terms = training_memory(read_sizes(SMALL_T2V, "x"), shape, setup(SMALL_T2V, CROSS, checkpointing=False))
    assert terms["activations of all blocks"] + terms["head"] == pytest.approx(saved(network, given), rel=0.1)


@pytest.mark.parametrize("half", [True, False], ids=["bf16", "fp32"])
def test_saved_tensors_with_checkpointing_are_the_block_inputs(half: bool) -> None:
    """The difference of two depths leaves out what is saved once: exactly the inputs of the blocks more."""
    at: dict[int, tuple[int, int]] = {}
    for depth in (2, 4):
        config = SMALL_T2V | {"num_layers": depth}
        network = build(config, CROSS, half=half)
        network.enable_gradient_checkpointing()
        plan = setup(config, CROSS, precision="bf16" if half else "fp32")
        terms = training_memory(read_sizes(config, "x"), SHAPE, plan)
        at[depth] = terms["block inputs"], saved(network, inputs(config, SHAPE, half=half))
    assert at[4][0] - at[2][0] == at[4][1] - at[2][1]


@pytest.mark.parametrize("checkpointing", [True, False])
@pytest.mark.parametrize("pattern", [CROSS, ALL_LINEAR], ids=["cross", "all"])
@pytest.mark.parametrize("config", [SMALL_I2V, SMALL_T2V], ids=["I2V", "T2V"])
def test_peak_of_live_tensors_in_a_step(config: dict[str, Any], pattern: str, checkpointing: bool) -> None:
    """Never below the true peak, at most 10 % above: embeddings weigh more in so small a network."""
    network, given = build(config, pattern, half=True), inputs(config, SHAPE, half=True)
    if checkpointing:
        network.enable_gradient_checkpointing()
    with LiveBytes() as live:
        network(**given)[0].float().square().mean().backward()
    terms = training_memory(read_sizes(config, "x"), SHAPE, setup(config, pattern, checkpointing=checkpointing))
    assert 1.0 <= (activations(terms) + terms["gradients"]) / live.peak <= 1.1


@pytest.mark.parametrize(("checkpointing", "tolerance"), [(True, 0.02), (False, 0.03)])
def test_peak_of_three_blocks_at_the_width_of_14b(checkpointing: bool, tolerance: float) -> None:
    """33 frames of 480x832 through tensors without memory: the same operations as on real ones."""
    config, shape = I2V_14B | {"num_layers": 3}, Shape(33, 480, 832)
    with torch.device("meta"):
        network = build(config, CROSS, half=True)
    if checkpointing:
        network.enable_gradient_checkpointing()
    with FakeTensorMode():
        for module in network.modules():
            for name, weight in module._parameters.items():
                if weight is not None:
                    empty = torch.empty(weight.shape, dtype=weight.dtype)
                    module._parameters[name] = torch.nn.Parameter(empty, weight.requires_grad)
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
        given = inputs(config, shape, half=True)
        with LiveBytes() as live:
            network(**given)[0].float().square().mean().backward()
    terms = training_memory(read_sizes(config, "x"), shape, setup(config, CROSS, checkpointing=checkpointing))
    assert activations(terms) == pytest.approx(live.peak, rel=tolerance)


@pytest.mark.parametrize("config", [SMALL_I2V, SMALL_T2V], ids=["I2V", "T2V"])
def test_peak_of_a_forward_pass(config: dict[str, Any]) -> None:
    terms = forward_memory(read_sizes(config, "x"), SHAPE, Setup())
    network, given = build(config, half=True), inputs(config, SHAPE, half=True)
    with LiveBytes() as live, torch.no_grad():
        network(**given)
    assert activations(terms) == pytest.approx(live.peak, rel=0.2)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp8"])
def test_weights_are_those_of_a_loaded_network(tmp_path: Any, precision: Any) -> None:
    from diffusers import WanTransformer3DModel

    build(SMALL_I2V).save_pretrained(tmp_path)
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    network = WanTransformer3DModel.from_pretrained(tmp_path, torch_dtype=dtype)
    if precision == "fp8":
        network.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16)
    sizes = read_sizes(SMALL_I2V, "x")
    held = weight_bytes(sizes, precision)
    assert held["blocks"] == sum(w.nbytes for w in network.blocks.parameters())
    assert sum(held.values()) == sum(w.nbytes for w in network.parameters())
    if precision == "fp32":
        assert sum(held.values()) == 4 * sum(parameters(sizes).values())


BIG, BIG_SHAPE = read_sizes(I2V_14B, "I2V-14B"), Shape(33, 480, 832)


def peak(shape: Shape = BIG_SHAPE, pattern: str | None = CROSS, **changes: Any) -> Terms:
    return training_memory(BIG, shape, setup(I2V_14B, pattern, **changes))


def test_what_training_keeps_besides_activations() -> None:
    terms = peak()
    trained = lora_parameters(adapted(BIG, CROSS), RANK)
    assert terms["weights"] == sum(weight_bytes(BIG, "bf16").values())
    assert terms["weights"] == pytest.approx(2 * 16_394_878_784, rel=0.005)
    assert (terms["adapter"], terms["gradients"], terms["AdamW states"]) == (4 * trained, 4 * trained, 8 * trained)
    assert terms["CUDA context"] == CUDA_CONTEXT
    assert terms["allocator slack"] == round(ALLOCATOR_SLACK * activations(terms))
    assert all(size > 0 for size in terms.values())
    assert set(terms) == {
        "weights", "adapter", "gradients", "AdamW states", "block inputs", "block computed again", "embeddings",
        "workspace", "allocator slack", "CUDA context",
    }  # fmt: skip


def test_activations_are_linear_in_the_batch() -> None:
    one, two, four = (peak(replace(BIG_SHAPE, batch=b), checkpointing=c) for b, c in ((1, True), (2, True), (4, True)))
    for name in ("block inputs", "block computed again", "workspace"):
        assert (two[name], four[name]) == (2 * one[name], 4 * one[name])
    assert four["embeddings"] - two["embeddings"] == 2 * (two["embeddings"] - one["embeddings"])
    assert one["weights"] == four["weights"]


def test_checkpointing_is_below_no_checkpointing() -> None:
    with_it, without = peak(), peak(checkpointing=False)
    assert sum(with_it.values()) < sum(without.values()) / 2
    plan = setup(I2V_14B, CROSS)
    kept = kept_by_blocks(BIG, BIG_SHAPE, plan)
    assert without["activations of all blocks"] == sum(kept)
    assert with_it["block computed again"] == max(kept)
    assert kept[0] < kept[1] == kept[39], "before the first trained layer nothing is kept"


def test_sharding_divides_what_is_sharded() -> None:
    one, four = peak(), peak(shards=4)
    for name in ("weights", "adapter", "gradients", "AdamW states"):
        assert four[name] == one[name] // 4
    assert "blocks gathered" not in one
    assert four["blocks gathered"] == pytest.approx(2 * weight_bytes(BIG, "bf16")["blocks"] / 40, rel=0.01)
    assert four["block inputs"] == one["block inputs"]


def test_ulysses_divides_tokens_and_must_divide_heads() -> None:
    one, four = peak(), peak(ulysses=4)
    assert four["block inputs"] == one["block inputs"] / 4
    assert one["block computed again"] / 4 < four["block computed again"] < one["block computed again"] / 3.5
    assert four["weights"] == one["weights"]
    with pytest.raises(RecipeError, match="ulysses 3: must divide 40 heads"):
        peak(ulysses=3)


def test_fp8_helps_only_with_checkpointing() -> None:
    """Autograd holds the bf16 copies of the weights of every block that is not done."""
    assert sum(peak(precision="fp8").values()) < sum(peak().values()) - 14e9
    without = peak(precision="fp8", checkpointing=False)
    assert without["weights cast to bf16"] == pytest.approx(2 * parameters(BIG)["blocks"], rel=1e-6)


def test_offload_leaves_two_blocks() -> None:
    terms = forward_memory(BIG, BIG_SHAPE, setup(I2V_14B, CROSS, offload=True))
    assert terms["blocks on the GPU"] == 2 * weight_bytes(BIG, "bf16")["blocks"] // 40
    assert sum(terms.values()) < sum(forward_memory(BIG, BIG_SHAPE, setup(I2V_14B, CROSS)).values()) - 29e9


def test_training_every_weight_takes_sixteen_bytes_each() -> None:
    terms = peak(pattern=None, shards=8)
    count = sum(parameters(BIG).values())
    assert terms["weights"] + terms["gradients"] + terms["AdamW states"] == pytest.approx(16 * count / 8, rel=1e-6)
    assert "adapter" not in terms
