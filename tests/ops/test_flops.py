"""Against the real network on the meta device: parameters to the last one, operations as torch counts them.

FlopCounterMode counts matrix products and convolutions as they are dispatched. On the meta device attention is carried
out as its two products (the math path), so that the scores and their gradients are counted like any other product.
"""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cinetune.errors import RecipeError, WeightsError
from cinetune.ops.flops import (
    Shape,
    adapted,
    forward_flops,
    lora_parameters,
    parameters,
    read_sizes,
    sampler_flops,
    training_flops,
)
from ops.wan_configs import (
    ALL_LINEAR,
    ATTENTION,
    CROSS,
    CROSS_TEXT,
    I2V_14B,
    PUBLISHED,
    SMALL_I2V,
    SMALL_T2V,
    T2V_14B,
    TI2V_5B,
)
from ops.wan_networks import RANK, build, inputs

SIZES = {"480p33": (33, 480, 832), "480p81": (81, 480, 832), "720p81": (81, 720, 1280)}
FORWARD_PF = {"480p33": 0.5093, "480p81": 1.6864, "720p81": 6.5405}


def counted(network: Any, given: dict[str, Any], *, backward: bool = False) -> int:
    with FlopCounterMode(display=False) as counter:
        out = network(**given)[0]
        if backward:
            out.sum().backward()
    return int(counter.get_total_flops())


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_of_the_real_network(name: str) -> None:
    with torch.device("meta"):
        network = build(PUBLISHED[name])
    ours, weights = parameters(read_sizes(PUBLISHED[name], name)), dict(network.named_parameters())
    assert sum(ours.values()) == sum(w.numel() for w in weights.values())
    for part in ("patch_embedding", "condition_embedder", "blocks"):
        assert ours[part] == sum(w.numel() for n, w in weights.items() if n.startswith(f"{part}."))


def test_parameters_of_configs_that_leave_something_out() -> None:
    for change in ({"cross_attn_norm": False}, {"pos_embed_seq_len": 10}, {"qk_norm": None}, {"patch_size": [2, 2, 1]}):
        config = SMALL_I2V | change
        with torch.device("meta"):
            real = sum(w.numel() for w in build(config).parameters())
        assert sum(parameters(read_sizes(config, "x")).values()) == real


def test_the_14b_network() -> None:
    sizes = read_sizes(I2V_14B, "I2V-14B")
    assert sum(parameters(sizes).values()) == 16_394_878_784
    assert lora_parameters(adapted(sizes, CROSS), 8) == 19_660_800
    assert lora_parameters(adapted(sizes, CROSS_TEXT), 8) == 13_107_200


@pytest.mark.parametrize("pattern", [CROSS, CROSS_TEXT, ATTENTION, ALL_LINEAR, r"blocks\.1\.attn1\.to_k"])
@pytest.mark.parametrize("config", [I2V_14B, T2V_14B], ids=["I2V", "T2V"])
def test_lora_parameters_are_those_that_the_package_injects(config: dict[str, Any], pattern: str) -> None:
    with torch.device("meta"):
        network = build(config | {"num_layers": 2}, pattern)
    layers = adapted(read_sizes(config | {"num_layers": 2}, "x"), pattern)
    assert lora_parameters(layers, RANK) == sum(w.numel() for w in network.parameters() if w.requires_grad)


@pytest.mark.parametrize("size", SIZES)
def test_forward_of_the_14b_network(size: str) -> None:
    shape = Shape(*SIZES[size])
    ours = forward_flops(read_sizes(I2V_14B, "I2V-14B"), shape)
    with torch.device("meta"), torch.no_grad():
        assert ours == counted(build(I2V_14B), inputs(I2V_14B, shape))
    assert ours / 1e15 == pytest.approx(FORWARD_PF[size], abs=1e-4)


def test_the_table_of_published_field_notes() -> None:
    """Training step of a cross-attention LoRA; the notes counted rank 0 on every layer, hence the percent."""
    sizes = read_sizes(I2V_14B, "I2V-14B")
    layers = adapted(sizes, CROSS)
    for size, model, hardware in (("480p33", 1.19, 1.78), ("480p81", 4.27, 6.41), ("720p81", 17.8, 26.7)):
        ours = training_flops(sizes, Shape(*SIZES[size]), layers=layers, rank=8, checkpointing=True)
        assert ours.model / 1e15 == pytest.approx(model, rel=0.02)
        assert ours.hardware / 1e15 == pytest.approx(hardware, rel=0.02)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("pattern", [CROSS, ALL_LINEAR, r"blocks\.1\.attn1\.to_k", None])
@pytest.mark.parametrize("kind", ["I2V", "T2V", "TI2V"])
def test_training_step(kind: str, pattern: str | None, checkpointing: bool) -> None:
    """Two samples: what a batch shares must not be counted twice, nor once what it does not share."""
    config = (TI2V_5B if kind == "TI2V" else I2V_14B if kind == "I2V" else T2V_14B) | {"num_layers": 2}
    shape = Shape(17, 256, 256, batch=2)
    if kind == "TI2V":
        shape = Shape(17, 512, 512, batch=2, spatial=16, time_per_token=True)
    sizes = read_sizes(config, kind)
    layers = None if pattern is None else adapted(sizes, pattern)
    plain = training_flops(sizes, shape, layers=layers, rank=RANK, checkpointing=False)
    ours = training_flops(sizes, shape, layers=layers, rank=RANK, checkpointing=checkpointing)
    with torch.device("meta"):
        network = build(config, pattern)
        if checkpointing:
            network.enable_gradient_checkpointing()
        given = inputs(config, shape)
        assert counted(network, given) == ours.forward
        # what checkpointing repeats is part of the hardware's work, as are the fused kernel's repeated scores,
        # which the math path does not have
        repeated = ours.hardware - plain.hardware
        assert counted(network, given, backward=True) == pytest.approx(ours.model + repeated, rel=1e-3)
    assert ours.model == plain.model
    assert (repeated > 0) == checkpointing
    assert plain.hardware > plain.model


def test_a_lora_step_is_less_than_three_forward_passes() -> None:
    sizes, shape = read_sizes(I2V_14B, "x"), Shape(81, 480, 832)
    base = forward_flops(sizes, shape)
    lora = training_flops(sizes, shape, layers=adapted(sizes, CROSS), rank=8, checkpointing=False)
    full = training_flops(sizes, shape, layers=None, checkpointing=False)
    assert 2 * base < lora.model < 2.7 * base < full.model < 3 * base


def test_guidance_doubles_the_sampler_and_rank_costs_little() -> None:
    sizes, shape = read_sizes(I2V_14B, "x"), Shape(81, 480, 832)
    assert sampler_flops(sizes, shape, steps=40, guidance=5.0) == 80 * forward_flops(sizes, shape)
    assert sampler_flops(sizes, shape, steps=40, guidance=1.0) == 40 * forward_flops(sizes, shape)
    of = [training_flops(sizes, shape, layers=adapted(sizes, CROSS), rank=r, checkpointing=True) for r in (8, 128)]
    assert 1.001 < of[1].model / of[0].model < 1.02


def test_tokens() -> None:
    assert Shape(81, 480, 832).tokens((1, 2, 2)) == 32_760
    assert Shape(81, 720, 1280).tokens((1, 2, 2)) == 75_600
    assert Shape(121, 704, 1280, spatial=16).tokens((1, 2, 2)) == 31 * 22 * 40


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (Shape(32, 480, 832), "frames must be 4n \\+ 1, such as 29, got 32"),
        (Shape(33, 488, 832), "height must be a multiple of 16, such as 480, got 488"),
        (Shape(33, 480, 840), "width must be a multiple of 16"),
        (Shape(33, 720, 1280, spatial=16), "height must be a multiple of 32, such as 704"),
        (Shape(33, 0, 832), "height"),
        (Shape(0, 480, 832), "frames"),
    ],
)
def test_illegal_sizes_are_refused_with_a_legal_one(shape: Shape, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        shape.tokens((1, 2, 2))


def test_what_is_not_a_wan_config_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"here: a FluxTransformer2DModel, not a WanTransformer3DModel"):
        read_sizes({"_class_name": "FluxTransformer2DModel"}, "here")
    with pytest.raises(WeightsError, match=r"num_layers, patch_size missing"):
        read_sizes({k: v for k, v in SMALL_T2V.items() if k not in ("num_layers", "patch_size")}, "here")
    with pytest.raises(WeightsError, match="ffn_dim missing or not a size"):
        read_sizes(SMALL_T2V | {"ffn_dim": "wide"}, "here")


def test_targets_that_match_nothing_are_refused() -> None:
    sizes = read_sizes(SMALL_T2V, "x")
    with pytest.raises(RecipeError, match="no linear layer has such a name"):
        adapted(sizes, r"blocks\.\d+\.attn3\..*")
    with pytest.raises(RecipeError, match="not a regular expression"):
        adapted(sizes, "(")
