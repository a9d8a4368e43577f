"""Fields that contradict each other, each said in one sentence."""

import pytest

from cinetune.errors import RecipeError
from cinetune.recipe import load_recipe

BAD = [
    ({"train.method": "full", "lora.dora": "true"}, "train.method = 'full' has no adapter and lora.dora is of one"),
    ({"train.method": "full", "lora.targets": "all-linear"}, "lora.targets is of one"),
    ({"train.method": "full", "train.nested_ranks": "[4, 8]"}, "train.nested_ranks is of one"),
    ({"train.nested_ranks": "[8, 4]"}, "train: nested_ranks must ascend, got 8, 4"),
    ({"train.nested_ranks": "[4, 4, 8]"}, "train: nested_ranks must ascend"),
    ({"train.nested_ranks": "[4, 16]"}, "train.nested_ranks must end with lora.rank = 8, got 16"),
    ({"train.nested_ranks": "[2, 4]"}, "must end with lora.rank = 8, got 4"),
    ({"train.nested_ranks": "[4, 8]", "lora.ranks": "{ '.*to_q' = 4 }"}, "leave lora.ranks out"),
    ({"lora.plus_ratio": "16", "train.optimiser": "prodigy", "train.learning_rate": "1.0"}, "drop either"),
    ({"train.optimiser": "prodigy"}, "train: prodigy estimates the learning rate itself; set learning_rate to 1"),
    ({"train.learning_rate": "1.0"}, "a learning_rate of 1 is for prodigy alone"),
    ({"train.schedule": "wsd", "train.warmup": "0.5", "train.decay": "0.6"}, "warmup 0.5 and decay 0.6 are more than"),
    ({"system.engine": "zero2", "train.optimiser": "muon"}, "give adamw, or engine ddp"),
    ({"system.engine": "fsdp2", "train.optimiser": "adamw8bit"}, "give adamw, or engine ddp"),
    ({"system.engine": "zero3", "train.ema": "0.9"}, "train.ema does not see the weights"),
    ({"lora.ranks": "{ '.*to_q' = 0 }"}, "greater than or equal to 1"),
    ({"train.ema": "1"}, "less than 1"),
    ({"lora.plus_ratio": "0.5"}, "greater than or equal to 1"),
]


@pytest.mark.parametrize(("changes", "says"), BAD)
def test_a_contradiction_is_one_sentence(changes: dict[str, str], says: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("paper", changes)
    assert says in str(caught.value)
    assert str(caught.value).startswith("paper: ")
    assert ": :" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_goes_together_passes() -> None:
    recipe = load_recipe("paper", {"lora.ranks": '{ "blocks.0.*" = 4, "blocks.1.*" = 16 }', "lora.rslora": "true",
                                   "lora.dora": "true", "lora.plus_ratio": "16", "train.ema": "0.99"})  # fmt: skip
    assert recipe.lora.ranks == {"blocks.0.*": 4, "blocks.1.*": 16}
    assert load_recipe("paper", {"train.nested_ranks": "[2, 4, 8]"}).train.nested_ranks == (2, 4, 8)
    load_recipe("paper", {"train.optimiser": "prodigy", "train.learning_rate": "1.0"})
    load_recipe("paper", {"train.method": "full", "train.optimiser": "muon"})
