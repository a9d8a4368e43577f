import pytest
from made import REGEX, network

from cinetune.adapters.targets import choose, name_of
from cinetune.errors import RecipeError
from cinetune.models._wan import CROSS_ATTENTION, IMAGE_PROJECTIONS


def test_the_sets() -> None:
    net = network()
    cross, attention, linear = (choose(net, target) for target in ("cross-attention", "attention", "all-linear"))
    wanted = {f"blocks.{n}.{short}" for n in range(6) for short in CROSS_ATTENTION + IMAGE_PROJECTIONS}
    assert set(cross) == wanted
    assert set(attention) - set(cross) == {
        f"blocks.{n}.attn1.{s}" for n in range(6) for s in ("to_q", "to_k", "to_v", "to_out.0")
    }
    assert set(linear) - set(attention) == {f"blocks.{n}.ffn.net.{s}" for n in range(6) for s in ("0.proj", "2")}
    assert [name_of(names) for names in (cross[:1], attention, linear)] == [
        "cross-attention",
        "attention",
        "all-linear",
    ]


def test_a_regular_expression_over_whole_names() -> None:
    picked = choose(network(), REGEX)
    assert len(picked) == 3 * 3 + 4
    assert name_of(picked) == "other"
    assert choose(network(), r".*\.add_k_proj") == [f"blocks.{n}.attn2.add_k_proj" for n in range(6)]


@pytest.mark.parametrize(("target", "says"), [("attn2", "no linear layer"), ("(", "not a regular expression")])
def test_bad_targets(target: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        choose(network(), target)
