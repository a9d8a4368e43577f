"""What the planner chooses for the 14B network at 720p, and what it says."""

import json
from dataclasses import replace

import pytest

from cinetune.errors import RecipeError
from cinetune.generate.parallel.degrees import Degrees
from cinetune.generate.parallel.planner import EXCHANGE, Work, check, plan
from cinetune.models._random import CONFIGS
from cinetune.ops.flops import Shape, read_sizes

GIB = 2**30
CONFIG = CONFIGS / "wan2.1-i2v-14b-720p" / "transformer" / "config.json"
WORK = Work(
    sizes=read_sizes(json.loads(CONFIG.read_text()), str(CONFIG)), shapes=(Shape(81, 720, 1280), Shape(5, 720, 1280)),
    chains=(1.0, 1.0), guided=True, memory=80 * GIB,
)  # fmt: skip
PUBLISHED = {2: 2715.5 / 1371.7, 4: 2715.5 / 716.1, 8: 2715.5 / 389.7}
"""Wan-Video/Wan2.1 README.md, assets/comp_effic.png: I2V 14B at 720p on A100s."""


@pytest.mark.parametrize(("processes", "times"), PUBLISHED.items())
def test_the_scaling_is_the_published_one(processes: int, times: float) -> None:
    assert 1 / (1 / processes + EXCHANGE * (processes - 1) / processes) == pytest.approx(times, rel=0.02)


@pytest.mark.parametrize(
    ("world", "changes", "chosen"),
    [
        (1, {}, Degrees()),
        (2, {}, Degrees(segments=2)),
        (2, {"chains": (1.0,)}, Degrees(guidance=2)),
        (2, {"chains": (1.0,), "guided": False}, Degrees(ulysses=2)),
        (2, {"chains": ()}, Degrees(guidance=2)),
        (4, {}, Degrees(segments=2, guidance=2)),
        (4, {"chains": (1.0,) * 3}, Degrees(guidance=2, ulysses=2)),  # 2 groups would do 2 chains in turn: 2 / 4 < 3
        (8, {"chains": (5.0, 3.0, 1.0, 1.0)}, Degrees(segments=2, guidance=2, ulysses=2)),
        (8, {"chains": (1.0,) * 64}, Degrees(segments=8)),
        (8, {"chains": (1.0,), "memory": 24 * GIB}, Degrees(guidance=2, ulysses=4, shard=True)),
        (8, {"chains": (1.0,), "memory": None}, Degrees(guidance=2, ulysses=4)),
    ],
)
def test_chains_first_then_guidance_then_tokens_and_shards_only_for_memory(
    world: int, changes: dict[str, object], chosen: Degrees
) -> None:
    assert plan(world, replace(WORK, **changes)).degrees == chosen  # type: ignore[arg-type]


def test_the_sentence_says_what_it_brings_and_what_else_there_is() -> None:
    assert plan(4, WORK).told == (
        "4 processes: 2 chains side by side x 2 halves for guidance, 4.0 times as fast as one; "
        "2 chains side by side x 2 share the tokens would be 3.9 times"
    )
    sharded = plan(8, replace(WORK, chains=(1.0,), memory=24 * GIB)).told
    assert "weights sharded, 7.5 times as fast as one" in sharded
    assert sharded.endswith("whole weights would need 34 GiB of a device's 24 GiB")
    assert "by estimate a device then needs" in plan(2, replace(WORK, memory=8 * GIB)).told
    assert "\n" not in sharded


def test_two_experts_need_more() -> None:
    one = replace(WORK, chains=(1.0,), memory=60 * GIB)
    assert not plan(8, one).degrees.shard
    assert plan(8, replace(one, experts=2)).degrees.shard


def test_a_number_of_processes_that_cannot_be_used() -> None:
    with pytest.raises(RecipeError, match=r"7 processes cannot share 2 chains, 40 attention heads .* start 5$"):
        plan(7, WORK)
    assert plan(5, WORK).degrees == Degrees(ulysses=5)


def test_degrees_that_the_user_gave_are_checked_for_every_length() -> None:
    check(Degrees(ulysses=8), WORK)
    narrow = replace(WORK, shapes=(Shape(81, 480, 832), Shape(5, 480, 816)))
    with pytest.raises(RecipeError, match="does not divide 3060 tokens of 5 frames"):
        check(Degrees(ulysses=8), narrow)
