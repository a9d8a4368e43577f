"""Everything that the recipe asks for, put on one network: what goes together, what was chosen, and what is refused."""

from typing import Any

import pytest
import torch

from cinetune.errors import RecipeError
from cinetune.models._wan import WanModel
from cinetune.recipe import Recipe, load_recipe
from cinetune.speed.offload import Offloaded
from cinetune.speed.quantised import FrozenLinear
from cinetune.train.engines._contract import Ranks
from cinetune.train.speed import Fast, first_place, set_up
from cinetune.train.trainable import load_dtype, make_trainable
from tiny_run import tiny_recipe
from tiny_step import CPU, adapted, relative, step

LATENTS = (2, 16, 2, 4, 6)


def prepared(tiny: WanModel, recipe: Recipe, ranks: Ranks | None = None) -> tuple[Any, Fast]:
    network = tiny.load_transformer(first_place(recipe, CPU), load_dtype(recipe))
    make_trainable(network, tiny, recipe)
    return network.train(), set_up(network, recipe, tiny.facts, LATENTS, ranks or Ranks(), CPU)


def test_by_default_nothing_changes(tiny: WanModel, capsys: pytest.CaptureFixture[str]) -> None:
    network, fast = prepared(tiny, tiny_recipe(tiny))
    assert not network.gradient_checkpointing
    assert (fast.attention, fast.work.kept, fast.work.checkpointing) == ("native", 0, False)
    assert capsys.readouterr().err.splitlines() == ["train: attention native (the only one for a cpu)"]


def test_everything_at_once_for_a_small_gpu(tiny: WanModel, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tiny_recipe(
        tiny, train__precision='"int8"', train__checkpointing="true", system__offload_blocks="3",
        system__keep_blocks="1", lora__rank="4", lora__alpha="8",
    )  # fmt: skip
    network, fast = prepared(tiny, recipe)
    kinds = {type(m) for m in network.modules()}
    assert FrozenLinear in kinds
    assert fast.work.kept == 1
    said = capsys.readouterr().err
    for part in (
        "72 frozen linear layers stored in int8, all else in bf16",
        "frozen weights of 3 of 6 blocks wait in main memory", "5 of 6 blocks are computed again",
    ):  # fmt: skip
        assert part in said
    one, gradients = step(network, tiny)
    plain = adapted(tiny, dtype=torch.bfloat16)
    plain.load_state_dict({n: w for n, w in network.state_dict().items() if "lora_" in n}, strict=False)
    two, others = step(plain, tiny)
    assert one == pytest.approx(two, rel=5e-3)
    assert relative(gradients, others) < 0.05


def test_auto_spends_the_memory_that_is_free(tiny: WanModel, monkeypatch: pytest.MonkeyPatch) -> None:
    from cinetune.train import speed

    recipe = tiny_recipe(tiny, train__checkpointing="true")
    assert prepared(tiny, recipe)[1].work.kept == 0, "none on a CPU"
    monkeypatch.setattr(speed, "free_on_gpu", lambda device: 2**40)
    monkeypatch.setattr(speed, "choose_attention", lambda *_, **__: "native")
    monkeypatch.setattr(speed, "_move", lambda *_: None)
    network = tiny.load_transformer(CPU, load_dtype(recipe))
    make_trainable(network, tiny, recipe)
    cuda = torch.device("cuda")
    assert set_up(network, recipe, tiny.facts, LATENTS, Ranks(), cuda).work.kept == 6
    least = set_up(network, recipe, tiny.facts, LATENTS, Ranks(), cuda, agree=lambda n: min(n, 2))
    assert least.work.kept == 2, "all processes do the same"
    away = tiny_recipe(tiny, train__checkpointing="true", system__offload_blocks="2")
    monkeypatch.setattr(speed, "offload_blocks", lambda part, count, device: Offloaded(list(part.blocks)[:count], CPU))
    assert set_up(network, away, tiny.facts, LATENTS, Ranks(), cuda).work.kept == 0, "a GPU that is too small"


@pytest.mark.parametrize(
    ("changes", "ranks", "why"),
    [
        ({"system__offload_blocks": "2"}, Ranks(), "system.offload_blocks needs train.checkpointing"),
        ({"system__keep_blocks": "2"}, Ranks(), "system.keep_blocks needs train.checkpointing"),
        ({"system__offload_blocks": "2", "train__checkpointing": "true"}, Ranks(0, 2), "system.engine = 'ddp'"),
        ({"system__keep_blocks": "7", "train__checkpointing": "true"}, Ranks(), "more than the 6 blocks"),
        ({"system__attention": '"flash"'}, Ranks(), "system.attention = 'flash': .*not usable"),
    ],
)
def test_what_does_not_go_together(tiny: WanModel, changes: dict[str, str], ranks: Ranks, why: str) -> None:
    with pytest.raises(RecipeError, match=why):
        prepared(tiny, tiny_recipe(tiny, **changes), ranks)


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        ({"system.offload_blocks": "2", "system.engine": "fsdp2"}, "offload_blocks moves whole blocks"),
        ({"system.offload_blocks": "2", "system.compile": "true"}, "do not go together"),
        ({"system.prefetch": "-1"}, "system.prefetch"),
        ({"system.keep_blocks": "most"}, "system.keep_blocks"),
        ({"train.fp8_matmul": "true"}, "fp8_matmul needs precision 'fp8', got 'fp32'"),
        ({"train.method": "full", "train.precision": "int8"}, "for a frozen base"),
    ],
)
def test_what_the_recipe_refuses(overrides: dict[str, str], why: str) -> None:
    with pytest.raises(RecipeError, match=why):
        load_recipe("nano", overrides)


def test_how_the_work_is_done_is_not_part_of_the_id() -> None:
    plain = load_recipe("nano")
    assert load_recipe("nano", {"system.compile": "true", "system.prefetch": "9"}).id == plain.id
    assert load_recipe("nano", {"train.precision": "int8"}).id != plain.id
