"""The recipes that ship fit the cards that they name, by the estimate of `cinetune doctor`."""

import pytest

from cinetune.doctor.configs import Described, describe_model
from cinetune.doctor.doctor import _pattern
from cinetune.doctor.estimate import Plan, train_peak
from cinetune.ops.flops import adapted, lora_parameters
from cinetune.ops.gpus import find_gpu
from cinetune.ops.memory import FP32, weight_bytes
from cinetune.recipe import Recipe, load_recipe

AT_A_TIME = 3
"""Offloaded blocks on the GPU: the one that works, the one that comes, and one whose memory is not free yet."""


@pytest.fixture(scope="module")
def wan() -> Described:
    return describe_model("wan")


def step_bytes(recipe: Recipe, model: Described, *, shards: int = 1, ulysses: int = 1) -> float:
    """Peak of a training step at the largest of the recipe's sizes, offloaded blocks away and the average added."""
    settings, layers = recipe.train, None
    if settings.method == "lora":
        layers = tuple(adapted(model.sizes, _pattern(recipe.lora.targets, recipe.lora.image_projections)))
    assert settings.precision in ("bf16", "fp32", "fp8")
    peaks = []
    for size in recipe.footage.sizes:
        plan = Plan(
            *size, layers, recipe.lora.rank, settings.batch, settings.precision, settings.checkpointing,
            shards=shards, ulysses=ulysses,
        )  # fmt: skip
        peaks.append(train_peak(model, plan, None).total)
    one_block = weight_bytes(model.sizes, settings.precision)["blocks"] / model.sizes.num_layers
    away = max(0, recipe.system.offload_blocks - AT_A_TIME) * one_block
    average = FP32 * lora_parameters(list(layers), recipe.lora.rank) if layers and settings.ema else 0
    return max(peaks) - away + average


@pytest.mark.parametrize(
    ("name", "gpu"),
    [
        ("fast-24gb", "RTX-4090"), ("fast-48gb", "L40S"), ("fast-80gb", "H100-SXM"), ("paper", "H100-SXM"),
        ("t2v", "H100-SXM"),
    ],
)  # fmt: skip
def test_a_step_fits_the_card(name: str, gpu: str, wan: Described) -> None:
    recipe = load_recipe(name)
    assert step_bytes(recipe, wan) <= 0.96 * find_gpu(gpu).memory * 2**30


def test_the_smaller_cards_need_what_their_recipes_switch_on(wan: Described) -> None:
    for name, gpu in (("fast-24gb", "RTX-4090"), ("fast-48gb", "L40S")):
        without = load_recipe(name, {"system.offload_blocks": "0"})
        assert step_bytes(without, wan) > find_gpu(gpu).memory * 2**30


def test_full_fine_tuning_fits_eight_gpus(wan: Described) -> None:
    """As its first lines say; not four."""
    recipe, memory = load_recipe("full"), find_gpu("H100-SXM").memory * 2**30
    assert step_bytes(recipe, wan, shards=8, ulysses=2) < 0.8 * memory
    assert step_bytes(recipe, wan, shards=4, ulysses=1) > memory
