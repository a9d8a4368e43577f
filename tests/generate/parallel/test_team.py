"""Every way of sharing makes the windows of one process, on processes that are really started."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import generate_ranks
from cinetune.errors import RunError
from cinetune.generate.parallel.degrees import Degrees
from cinetune.generate.parallel.team import Team, together
from cinetune.models._resolve import find_model
from cinetune.models._wan import WanModel
from generate_ranks import CASES, CPU, SIZE, studio, windows, write_adapter
from tiny_kinds import build

CLOSE = 1e-5
"""Largest difference of latents, whose deviation is about 1."""
LEVELS = 2
"""Of 65535: convolutions of a tile may add in another order than those of the whole frame."""
FEW = "two halves, tokens in two, shards"

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked, which this system cannot do")


def start(folder: Path, model: str, experts: str, cases: list[str]) -> list[dict[str, Any]]:
    """What each of four processes found."""
    command = [sys.executable, generate_ranks.__file__, str(folder), model, experts, *cases]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(4)]


def check(found: list[dict[str, Any]], name: str) -> None:
    """Every process of a group has the windows of one process alone, and all groups together have all of them."""
    degrees, what = CASES[name]
    world = 2 if name.startswith("2: ") else 4
    parsed, alone, made = Degrees.parse(degrees, world), found[3]["alone"][what], set[int]()
    for rank in range(world):
        mine = found[rank][name]
        assert mine.keys() == found[rank - rank % parsed.group][name].keys()
        made |= mine.keys()
        for place, window in mine.items():
            expected = alone[place]
            assert expected["latents"].std() > 0.1
            assert (window["latents"] - expected["latents"]).abs().max() <= CLOSE, (name, rank, place)
            assert abs(window["frames"] - expected["frames"]).max() <= (LEVELS if parsed.group > 1 else 0)
    assert made == {0, 1, 2}


@pytest.fixture(scope="module")
def few(tiny: WanModel, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return start(tmp_path_factory.mktemp("few"), tiny.source, "", [FEW, "refusals"])


def test_halves_and_tokens_and_shards_together_make_what_one_process_makes(few: list[dict[str, Any]]) -> None:
    check(few, FEW)
    for place, window in few[0][FEW].items():  # each half does half of the forward passes
        assert 2 * window["ran"] == few[3]["alone"]["beside"][place]["ran"] > 0


def test_what_comes_too_late_or_cannot_be_shared_is_one_line(few: list[dict[str, Any]]) -> None:
    for found in few:
        said = found["refusals"]
        assert said["late layer"] == (
            "a layer was added to the network after its work was shared out; add adapters before"
        )
        assert said["late cache"] == "a cache was switched on after the tokens were shared out; do it before"
        assert "ulysses = 4 does not divide the 18 tokens of 3 x 4 x 6 latents" in said["tokens"]
        assert "guidance is off (scale 1)" in said["guidance"]
        assert "the attention kernel _native_math cannot share tokens" in said["kernel"]
        assert "is for 3 processes, and there are 4" in said["world"]


@pytest.mark.slow
def test_all_ways_of_sharing(tiny: WanModel, tmp_path: Path) -> None:
    experts = build(tiny, tmp_path / "experts", "two experts")
    found = start(tmp_path, tiny.source, experts.source, list(CASES))
    for name in CASES:
        check(found, name)
    for name in ("first block", "first block, shards"):  # blocks were left out, at the same steps
        ran = [found[0][name][n]["ran"] for n in range(3)]
        assert 2 * sum(ran) == sum(found[3]["alone"]["first_block=0.35"][n]["ran"] for n in range(3))
        assert sum(ran) < sum(found[0]["two halves, tokens in two"][n]["ran"] for n in range(3))


@pytest.mark.slow
def test_nano_on_four_processes(tmp_path: Path) -> None:
    names = ["two halves, tokens in two, merged", FEW, "tokens in four", "four films", "2: two halves"]
    any_model: Any = find_model("nano")
    found = start(tmp_path, str(any_model.folder), "", names)
    for name in names:
        check(found, name)


def test_one_process_needs_nobody(tiny: WanModel, tmp_path: Path) -> None:
    write_adapter(tiny, tmp_path / "style.safetensors")
    with together(CPU) as process:
        team = Team(process, Degrees())
        made = studio("beside", tmp_path, [tiny.source, ""], team).latents(windows()[1])
        assert (team.leads, team.main, team.segment) == (True, True, 0)
        assert (process.from_main("x"), team.from_lead("x"), team.gather("x")) == ("x", "x", ["x"])
        team.wait()
    assert torch.equal(made, studio("beside", tmp_path, [tiny.source, ""]).latents(windows()[1]))
    assert made.shape[2:] == (2, SIZE[1] // 8, SIZE[2] // 8)
    with pytest.raises(RunError, match="is for 2 processes, and there are 1"):
        Team(process, Degrees(ulysses=2))
