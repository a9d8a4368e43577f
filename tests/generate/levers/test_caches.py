"""Blocks that are left out: against diffusers' own caches, nothing at threshold 0, and nothing kept between videos."""

import ast
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FirstBlockCacheConfig, MagCacheConfig

from cinetune.errors import RecipeError
from cinetune.generate.levers import _ratios, magnitude
from cinetune.generate.levers._ratios import Ratios, published, read_ratios, write_ratios
from cinetune.generate.levers.magnitude import Gone, calibrate, follow
from cinetune.models._resolve import find_model
from cinetune.models._wan import WanModel
from lever_studio import CAPTIONS, studio, window, work
from tiny_kinds import build

STEPS = 8
SOME = 0.12
"""A threshold at which the tiny model leaves some blocks out, not all."""


@pytest.fixture(scope="module")
def ratios(tiny: WanModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Measured on the tiny model with guidance."""
    file = tmp_path_factory.mktemp("ratios") / "tiny.json"
    write_ratios(file, calibrate(studio(tiny, guidance=2.0), [window(), window(seed=8, prompt=CAPTIONS[1])]))
    return file


def theirs(model: Any, config: Any, guidance: float) -> torch.Tensor:
    room = studio(model, guidance=guidance)
    any_network: Any = room.rig.network
    any_network.enable_cache(config)
    room.rig.caching = True
    return room.latents(window())


@pytest.mark.parametrize("guidance", [pytest.param(1.0, marks=pytest.mark.slow), 2.0])
def test_first_block_is_diffusers_own(tiny: WanModel, guidance: float) -> None:
    ours = studio(tiny, f"first_block={SOME}", guidance=guidance)
    assert torch.equal(ours.latents(window()), theirs(tiny, FirstBlockCacheConfig(SOME), guidance))
    done, all_of_them = work(ours), work(studio(tiny, guidance=guidance))
    print(f"first_block={SOME} at guidance {guidance:g}: {done} of {all_of_them}")
    assert done["passes"] == all_of_them["passes"]
    assert done["passes"] < done["blocks"] < all_of_them["blocks"], "the first block always runs"


@pytest.mark.parametrize("threshold", [pytest.param(0.06, marks=pytest.mark.slow), 0.3])
def test_magnitude_is_diffusers_own(tiny: WanModel, ratios: Path, threshold: float) -> None:
    config = MagCacheConfig(threshold, magnitude.MOST, magnitude.FIRST, STEPS, list(read_ratios(ratios).prompt))
    ours = studio(tiny, f"magnitude={threshold}:{ratios}")
    assert torch.equal(ours.latents(window()), theirs(tiny, config, 1.0))


def test_magnitude_leaves_out_what_was_planned(tiny: WanModel, ratios: Path) -> None:
    rows = read_ratios(ratios)
    run = []
    for row in (rows.prompt, rows.negative or ()):
        gone = Gone()
        for ratio in row:
            out, gone = follow(gone, ratio, STEPS, 0.3)
            run.append(not out)
    room = studio(tiny, f"magnitude=0.3:{ratios}", guidance=2.0)
    any_network: Any = room.rig.network
    assert work(room) == {"passes": 2 * STEPS, "blocks": sum(run) * len(any_network.blocks)}
    assert 0 < sum(run) < len(run)


def test_never_more_in_a_row_than_said_and_never_at_first() -> None:
    gone, told = Gone(), []
    for _ in range(20):
        out, gone = follow(gone, 1.0, 20, 1.0)
        told.append(out)
    assert told[:4] == [False] * 4
    assert told[4:] == ([True] * magnitude.MOST + [False]) * 5 + [True]
    gone = Gone(seen=10)
    sums = []
    for ratio in (0.95, 0.9, 0.8):  # 1 - 0.95, then + 1 - 0.855
        out, gone = follow(gone, ratio, 20, 0.15)
        sums.append((out, round(gone.error, 6)))
    assert sums == [(True, 0.05), (False, 0.0), (False, 0.0)]


@pytest.mark.parametrize("lever", ["first_block=0", "magnitude=0:{}"])
def test_a_threshold_of_nothing_is_exact(tiny: WanModel, ratios: Path, lever: str) -> None:
    exact = studio(tiny, guidance=2.0).latents(window())
    assert torch.equal(studio(tiny, lever.format(ratios), guidance=2.0).latents(window()), exact)


@pytest.mark.parametrize("lever", [f"first_block={SOME}", "magnitude=0.3:{}"])
def test_the_second_video_is_the_same_as_alone(tiny: WanModel, ratios: Path, lever: str) -> None:
    name, second = lever.format(ratios), window(seed=8, prompt=CAPTIONS[1])
    room = studio(tiny, name, guidance=2.0)
    room.latents(window())
    assert torch.equal(room.latents(second), studio(tiny, name, guidance=2.0).latents(second))


def test_a_video_that_begins_further_down(tiny: WanModel, ratios: Path) -> None:
    """Ratios are those of its noise levels, not of a count, and its first step runs every block."""
    room = studio(tiny, f"magnitude=0.3:{ratios}")
    any_network: Any = room.rig.network
    done, blocks = work(room, window(strength=0.9)), len(any_network.blocks)
    assert 1 < done["passes"] < STEPS
    gone, run = Gone(), 0
    for ratio in read_ratios(ratios).prompt[-done["passes"] :]:
        out, gone = follow(gone, ratio, STEPS, 0.3)
        run += not out
    assert done["blocks"] == run * blocks
    done = work(studio(tiny, "first_block=1"), window(strength=0.9))
    assert done["blocks"] == blocks + done["passes"] - 1


def test_two_experts_remember_by_themselves(tiny: WanModel, tmp_path: Path) -> None:
    model = build(tiny, tmp_path / "model", "two experts")
    exact, ours = studio(model, guidance=2.0), studio(model, "first_block=1", guidance=2.0)
    done, whole = work(ours), work(exact)
    assert done["blocks"] == done["passes"] + 4, "all blocks once for each prompt of each expert, of 2 blocks"
    assert whole["blocks"] == 2 * whole["passes"]
    assert torch.equal(studio(model, "first_block=0", guidance=2.0).latents(window()), exact.latents(window()))


def test_ratios_are_those_that_diffusers_measures(tiny: WanModel, capsys: pytest.CaptureFixture[str]) -> None:
    ours = calibrate(studio(tiny), [window()])
    capsys.readouterr()
    theirs(tiny, MagCacheConfig(num_inference_steps=STEPS, calibrate=True), 1.0)
    printed = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("[") and "," in line)
    assert ours.prompt == pytest.approx(ast.literal_eval(printed), abs=1e-5)
    assert ours.negative is None
    assert (ours.model, ours.steps, ours.shift, ours.guidance) == ("tiny", STEPS, 3.0, 1.0)


def test_calibrating_changes_nothing_and_keeps_the_prompts_apart(tiny: WanModel, ratios: Path) -> None:
    room = studio(tiny, guidance=2.0)
    before = room.latents(window())
    one, both = calibrate(room, [window()]), calibrate(room, [window(), window()])
    assert torch.equal(room.latents(window()), before)
    assert one.prompt == both.prompt
    assert one.negative is not None
    assert one.prompt != one.negative
    with pytest.raises(RecipeError, match="calibrate wants a studio without caches, and at least one window"):
        calibrate(room, [])
    with pytest.raises(RecipeError, match="without caches"):
        calibrate(studio(tiny, "first_block"), [window()])


def test_ratios_of_other_steps_are_one_line(tiny: WanModel, ratios: Path, tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"its ratios are of 8 steps at shift 3, and this is 6 steps at shift 3; meas"
    ):
        studio(tiny, f"magnitude=0.1:{ratios}", steps=6)
    with pytest.raises(RecipeError, match=r"--lever magnitude=0.06: no ratios are known of tiny; measure them with"):
        studio(tiny, "magnitude")
    alone = tmp_path / "alone.json"
    write_ratios(alone, read_ratios(ratios).model_copy(update={"negative": None}))
    with pytest.raises(RecipeError, match="measured without guidance"):
        studio(tiny, f"magnitude=0.1:{alone}", guidance=2.0)
    with pytest.raises(RecipeError, match=r"nowhere.json: no such file"):
        studio(tiny, f"magnitude=0.1:{tmp_path / 'nowhere.json'}")
    alone.write_text(alone.read_text().replace('"steps": 8', '"steps": 9'))
    with pytest.raises(RecipeError, match="not 9 ratios"):
        read_ratios(alone)


def test_published_ratios_are_found_by_the_models_name() -> None:
    small, large = published("Wan-AI/Wan2.1-I2V-14B-480P-Diffusers"), published("/models/wan2.1-i2v-14b-720p-diffusers")
    assert small is not None
    assert large is not None
    assert published("Wan-AI/Wan2.1-T2V-14B-Diffusers") is None
    for one in (small, large):
        assert one.negative is not None
        assert len(one.prompt) == len(one.negative) == 40
        assert one.prompt[0] == one.negative[0] == 1
        assert max(abs(a - b) for a, b in zip(one.prompt, one.negative, strict=True)) < 0.003
        assert min(one.prompt) > 0.85
    assert (small.shift, small.prompt[-1], small.negative[1]) == (3.0, 0.92617, 0.98993)  # type: ignore[index]
    assert (large.shift, large.prompt[-1], large.negative[1]) == (5.0, 0.8679, 0.99498)  # type: ignore[index]


@pytest.mark.slow
def test_nano_s_ratios_are_what_is_measured(tmp_path: Path) -> None:
    """To make them again, after nano was trained anew: CINETUNE_WRITE=1 in the environment of this test."""
    from cinetune.footage.procedural import render_clip
    from cinetune.generate.studio import open_studio
    from cinetune.generate.window import Sampling, Window
    from cinetune.ops.video import deepen

    model: Any = find_model("nano")
    clips = [render_clip("historical", seed=seed) for seed in range(4)]
    room = open_studio(
        model, [], Sampling(steps=12, guidance=4.0, shift=3.0), (17, 64, 96), [clip.caption for clip in clips],
        device=torch.device("cpu"), dtype=torch.float32,
    )  # fmt: skip
    made = calibrate(
        room, [Window(clip.caption, n, 17, deepen(np.asarray(clip.frames)[0])) for n, clip in enumerate(clips)]
    )
    shipped = model.folder / _ratios.FILE
    if os.environ.get("CINETUNE_WRITE"):
        write_ratios(shipped, made)
    known: Ratios = read_ratios(shipped)
    assert known.prompt == pytest.approx(made.prompt, abs=1e-4)
    assert known.negative == pytest.approx(made.negative, abs=1e-4)
    rest = {"prompt": (), "negative": None}
    assert known.model_copy(update=rest) == made.model_copy(update=rest)
