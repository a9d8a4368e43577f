"""What the option says, and what it may not say."""

import pytest

from cinetune.errors import RecipeError
from cinetune.generate.parallel.degrees import Degrees, check_fit, fitting


def test_the_option_and_its_text_say_the_same() -> None:
    degrees = Degrees.parse("segments=2, guidance=2,shard=yes", 4)
    assert degrees == Degrees(2, 2, 1, shard=True)
    assert Degrees.parse(str(degrees), 4) == degrees
    assert (degrees.group, degrees.world) == (2, 4)
    assert Degrees.parse("segments=1", 1) == Degrees()


@pytest.mark.parametrize(
    ("text", "world", "said"),
    [
        ("segments=2,guidance=2", 8, "segments 2 x guidance 2 x ulysses 1 is 4 processes, and 8 were started"),
        ("guidance=3", 3, "give guidance=1 or guidance=2"),
        ("ulysses=0", 1, "'ulysses=0' is not understood"),
        ("ulysses=two", 2, "'ulysses=two' is not understood"),
        ("rings=2", 2, "'rings=2' is not understood"),
        ("shard=maybe", 1, "'shard=maybe' is not understood"),
        ("ulysses=2,ulysses=2", 4, "ulysses is given twice"),
        ("segments=2,shard=yes", 2, "weights are shared out within a group"),
        ("", 1, "'' is not understood"),
    ],
)
def test_what_is_wrong_is_one_line(text: str, world: int, said: str) -> None:
    with pytest.raises(RecipeError, match=said.replace("(", r"\(")) as caught:
        Degrees.parse(text, world)
    assert "\n" not in str(caught.value)


def test_heads_and_the_tokens_of_every_length_must_divide() -> None:
    tokens = {81: 75600, 5: 7200}
    check_fit(Degrees(ulysses=8), 40, tokens, guided=False)
    with pytest.raises(RecipeError, match=r"does not divide 40 attention heads or 18 tokens of 9 frames"):
        check_fit(Degrees(ulysses=16), 40, {5: 64, 9: 18}, guided=True)
    with pytest.raises(RecipeError, match=r"here it can be 1, 2, 4, or more"):
        check_fit(Degrees(ulysses=3), 4, {5: 16, 9: 24}, guided=True)
    with pytest.raises(RecipeError, match="guidance is off"):
        check_fit(Degrees(guidance=2), 40, tokens, guided=False)
    assert fitting(40, tokens.values(), 40) == [1, 2, 4, 5, 8, 10, 20, 40]
