"""What a validation measures, on a Wan2.1 of random weights: against the same written out, alone and in company."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_engines import alone, together
from scipy import stats
from torch import nn

from cinetune import plugins
from cinetune.adapters import lora
from cinetune.errors import MetricError, PluginError, RecipeError, RunError
from cinetune.footage.video_io import read_video
from cinetune.metrics._contract import Item
from cinetune.metrics.backbones._resolve import resolve
from cinetune.models._wan import WanModel
from cinetune.ops import flow
from cinetune.ops.video import to_frames
from cinetune.recipe import Recipe, load_recipe
from cinetune.records import Clip, read_records
from cinetune.train.data import Cached, load_split
from cinetune.train.readings import Baselines
from cinetune.train.validation import QUANTILES, Validator, decisive_metric, quantile_levels, shared
from tiny_kinds import build
from tiny_run import prepare_tiny, tiny_recipe

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tiny: WanModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_tiny(tmp_path_factory.mktemp("validation") / "run", tiny, tiny_recipe(tiny))


def splits(run: Path) -> tuple[Cached, Cached]:
    """Three clips to validate with: the tiny run's two, and one of the test split, which nobody misses here."""
    clips = read_records(run / "footage" / "clips.jsonl", Clip)
    wanted = [c if c.id != "clip-8" else dataclasses.replace(c, split="validation") for c in clips]
    return load_split(run / "footage", wanted, "validation"), load_split(run / "footage", wanted, "train")


def recipe_of(model: WanModel, **changes: str) -> Recipe:
    return tiny_recipe(model, **{"validation__search": "2", **changes})


def validator(run: Path, model: WanModel, recipe: Recipe) -> Validator:
    return Validator(run, recipe, model, *splits(run), CPU)


def adapted(model: WanModel, strength: float = 0.0) -> nn.Module:
    """A network with an adapter that does something."""
    network = model.load_transformer(CPU, torch.float32)
    lora.inject(network, model.adapter_targets(image_projections=True), rank=4, alpha=8.0, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in lora.parameters(network):
            weight += strength * torch.randn(weight.shape, generator=generator)
    return network.train()


@pytest.mark.parametrize("density", flow.DENSITIES)
def test_levels_are_the_quantiles_of_what_training_draws(tiny: WanModel, density: str) -> None:
    """Against the closed forms of the densities and of the shift."""
    at = np.array(QUANTILES)
    mode = 1 - (1 - at) - 1.29 * (np.cos(np.pi / 2 * (1 - at)) ** 2 - 1 + (1 - at))
    even = {"logit_normal": 1 / (1 + np.exp(-stats.norm.ppf(at))), "mode": mode}.get(density, at)
    expected = 3 * even / (1 + 2 * even)
    levels = quantile_levels(tiny_recipe(tiny, train__sigma_density=density), tiny)
    assert levels == pytest.approx(expected.tolist(), abs=0.0015)


def test_levels_keep_to_the_range_of_the_expert_that_is_trained(tiny: WanModel, tmp_path: Path) -> None:
    model = build(tiny, tmp_path / "model", "t2v of two experts")
    boundary = model.facts.boundary
    assert boundary is not None
    share = stats.norm.cdf(np.log(boundary / (3 - 2 * boundary) / (1 - boundary / (3 - 2 * boundary))))
    for experts, sides in (("low", (0, share)), ("high", (share, 1))):
        at = sides[0] + np.array(QUANTILES) * (sides[1] - sides[0])
        even = 1 / (1 + np.exp(-stats.norm.ppf(at)))
        levels = quantile_levels(tiny_recipe(model, lora__experts=experts), model)
        assert levels == pytest.approx((3 * even / (1 + 2 * even)).tolist(), abs=0.002)


def test_a_reading_is_what_its_parts_written_out_give(tiny: WanModel, run: Path) -> None:
    """One clip after another with the model's own functions; the adapter does something."""
    recipe = recipe_of(tiny, validation__clips="3")
    network, held_out = adapted(tiny, 0.3), splits(run)[0]
    reading = validator(run, tiny, recipe).measure(network, alone())
    assert network.training
    network.eval()
    metric, eye = plugins.load("metrics", "lpips"), resolve("lpips", "nano", {}, CPU)
    from cinetune.models._sampling import draw_noise, sample
    from cinetune.train.data import collate

    keep = torch.zeros(1, dtype=torch.bool)
    for n, clip in enumerate(held_out.clips):
        latents, condition = collate(held_out, [n], keep, keep)
        noise = draw_noise(tuple(latents.shape[1:]), recipe.seed + n)[None]
        made = sample(tiny, network, condition, noise, steps=2, shift=3.0, guidance=1.0, negative=held_out.empty)
        video = to_frames(tiny.load_encoders(CPU).decode(made)[0])
        truth = read_video(run / "footage" / clip.video)[0]
        expected = metric.score(metric.look.features(Item(video, truth, ""), eye)).value
        assert reading.values[n] == pytest.approx(expected, abs=1e-4)
        for place, level in enumerate(quantile_levels(recipe, tiny)):
            noise = draw_noise(tuple(latents.shape[1:]), 7919 + n)[None]
            with torch.no_grad():
                answer = tiny.velocity(network, (1 - level) * latents + level * noise, torch.tensor([level]), condition)
            error = (answer - (noise - latents)).square().mean().item()
            assert reading.held_out[n][place] == pytest.approx(error, rel=1e-4)
    assert np.shape(reading.held_out) == np.shape(reading.training) == (3, 9)
    assert reading.loss == pytest.approx(np.mean(reading.losses))
    assert reading.low is not None
    assert reading.value is not None
    assert reading.low <= reading.value <= (reading.high or 0)
    assert len(reading.nearest) == 3
    assert all(near is not None and -1 <= near <= 1 for near in reading.nearest)


def test_any_number_of_processes_gives_the_same_numbers(tiny: WanModel, run: Path) -> None:
    """To the last bit, with more processes than videos too; each does as many passes, and none is left waiting."""
    recipe = recipe_of(tiny, validation__clips="3")
    network = adapted(tiny, 0.3)

    mine = [validator(run, tiny, recipe) for _ in range(4)]  # loading is not for several threads
    networks = [copy.deepcopy(network) for _ in mine]

    def all_of_it(engine: Any) -> tuple[Baselines, Any, int, int]:
        own, passes = networks[engine.ranks.rank], [0]
        count = own.register_forward_hook(lambda *_: passes.__setitem__(0, passes[0] + 1))
        made = mine[engine.ranks.rank].baselines(own, engine), mine[engine.ranks.rank].measure(own, engine)
        count.remove()
        return *made, passes[0], engine.gathered

    base, reading, *_ = all_of_it(alone())
    mine[0]._known = None  # the search for copies is shared too
    made = together(4, all_of_it)
    assert all((b, r) == (base, reading) for b, r, _, _ in made)
    assert len({(passes, gathered) for _, _, passes, gathered in made}) == 1


def test_what_is_shared_comes_back_in_order() -> None:
    for world in (1, 2, 3, 5):
        for count in (0, 1, 4, 5, 7):
            done: list[int] = []

            def ten_times(number: int, done: list[int] = done) -> int:
                done.append(number)
                return 10 * number

            def work(engine: Any, items: range = range(count), ten_times: Any = ten_times) -> list[int]:
                return shared(items, ten_times, engine)

            assert together(world, work) == [[10 * n for n in range(count)]] * world
            assert set(done) == set(range(count))
            assert len(done) == -(-count // world) * world, "every rank as often as any other"


def test_baselines_are_the_untrained_network_and_the_first_frame_held_still(tiny: WanModel, run: Path) -> None:
    recipe = recipe_of(tiny, validation__clips="3")
    mine = validator(run, tiny, recipe)
    base = mine.baselines(adapted(tiny), alone())
    assert base.base == mine.measure(tiny.load_transformer(CPU, torch.float32), alone())
    metric, eye = plugins.load("metrics", "lpips"), resolve("lpips", "nano", {}, CPU)
    for clip, still in zip(splits(run)[0].clips, base.static, strict=True):
        truth = read_video(run / "footage" / clip.video)[0]
        held = Item(np.repeat(truth[:1], len(truth), axis=0), truth, "")
        assert metric.score(metric.look.features(held, eye)).value == still
    assert (base.metric, base.better, base.levels) == ("lpips", "lower", mine.levels)
    assert len(base.real) == 3
    assert base.seconds >= base.base.seconds > 0
    assert Baselines.of(json.loads(json.dumps(base.tree()))) == base


def test_a_copy_of_a_training_clip_is_the_nearest_there_is(tiny: WanModel, run: Path) -> None:
    """A run whose validation clips are its training clips: the real ones are copies."""
    _, training = splits(run)
    mine = Validator(run, tiny_recipe(tiny), tiny, training, training, CPU)
    base = mine.baselines(adapted(tiny), alone())
    assert base.real == pytest.approx([1.0, 1.0], abs=1e-5)
    assert all(near is not None and near < 0.999 for near in base.base.nearest)


def test_other_metrics_decide_in_their_own_direction(tiny: WanModel, run: Path) -> None:
    recipe = tiny_recipe(tiny, validation__metric="ssim", validation__search="0")
    base = validator(run, tiny, recipe).baselines(adapted(tiny), alone())
    assert (base.metric, base.better) == ("ssim", "higher")
    assert base.base.nearest == base.real == []
    assert decisive_metric("rlpips")[1] == "lower"


def test_a_metric_that_cannot_decide_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"validation\.metric = 'fvd' is not a number for single videos"):
        decisive_metric("fvd")
    with pytest.raises(RecipeError, match="'flicker': neither direction of it is better"):
        decisive_metric("flicker")
    with pytest.raises(PluginError, match="did you mean lpips"):
        decisive_metric("lpipz")


def test_a_metric_without_any_value_says_why(tiny: WanModel, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cinetune.metrics.ssim.WINDOW", 64)
    mine = validator(run, tiny, recipe_of(tiny, validation__metric="ssim"))
    with pytest.raises(MetricError, match="'ssim' has no value for any of 2 validation clips: frames of fewer than"):
        mine.measure(adapted(tiny), alone())


def test_single_frames_are_no_validation_clips(tiny: WanModel, run: Path) -> None:
    held_out, training = splits(run)
    pictures = Cached(tuple(dataclasses.replace(c, frames=1) for c in held_out.clips), held_out.items, held_out.empty)
    with pytest.raises(RunError, match="no validation clip of more than one frame"):
        Validator(run, tiny_recipe(tiny), tiny, pictures, training, CPU)


def test_clips_of_several_sizes_do_not_go_through_the_network_together(tiny: WanModel, run: Path) -> None:
    held_out, training = splits(run)
    sizes = (32, 64, 32)
    clips = tuple(dataclasses.replace(c, height=h) for c, h in zip(held_out.clips, sizes, strict=True))
    mixed = Cached(clips, held_out.items, held_out.empty)
    mine = Validator(run, recipe_of(tiny, validation__clips="3", train__batch="8"), tiny, mixed, training, CPU)
    assert mine._groups() == [[0, 2], [1]]


def test_only_the_decoder_is_loaded(tiny: WanModel, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("nothing needs to be encoded")

    monkeypatch.setattr(WanModel, "load_encoders", refuse)
    reading = validator(run, tiny, tiny_recipe(tiny, validation__search="0")).measure(adapted(tiny), alone())
    assert len(reading.values) == 2


def test_auto_is_the_default_and_nano_has_an_integer() -> None:
    assert load_recipe("paper").validation.every == "auto"
    assert isinstance(load_recipe("nano").validation.every, int)
    with pytest.raises(RecipeError, match=r"validation\.every"):
        load_recipe("nano", {"validation.every": "never"})
