"""Wan2.2 A14B: the two experts of a tiny model trained together or one alone."""

import copy
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cinetune.adapters import lora
from cinetune.adapters.reading import EXPERT_FILES
from cinetune.errors import RecipeError
from cinetune.files import sha256
from cinetune.models._contract import Condition
from cinetune.models._velocity import Experts, velocity
from cinetune.models._wan import WanModel
from cinetune.ops import flow
from cinetune.records import Clip, read_records
from cinetune.train import loop
from cinetune.train.batches import generator
from cinetune.train.data import Cached, collate, indices, load_split
from cinetune.train.loop import train
from cinetune.train.trainable import make_trainable
from tiny_kinds import BOUNDARY, build
from tiny_run import prepare_tiny, tiny_recipe
from tiny_train import Steps

CPU = torch.device("cpu")
EDGE = BOUNDARY["two experts"]
SHIFT = "12.0"
"""Sends 61 % of the clips to the high noise expert."""


@pytest.fixture(scope="module")
def model(tiny: WanModel, tmp_path_factory: pytest.TempPathFactory) -> WanModel:
    return build(tiny, tmp_path_factory.mktemp("experts") / "model", "two experts")


@pytest.fixture(scope="module")
def prepared(model: WanModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_tiny(tmp_path_factory.mktemp("experts") / "run", model, tiny_recipe(model))


@pytest.fixture(scope="module")
def data(prepared: Path) -> Cached:
    return load_split(prepared / "footage", read_records(prepared / "footage" / "clips.jsonl", Clip), "train")


def fresh(prepared: Path, folder: Path) -> Path:
    folder.mkdir()
    (folder / "footage").symlink_to(prepared / "footage", target_is_directory=True)
    return folder


def artefacts(run: Path) -> dict[str, object]:
    """Everything a training run leaves that does not tell the time."""
    folder = run / "train"
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    timed = ("seconds", "step_seconds", "tokens_per_second", "tflops", "peak_bytes", "data_wait", "seconds_left")
    return {
        "best": {file.name: file.read_bytes() for file in (folder / "best").iterdir()},
        "log": [{k: v for k, v in row.items() if k not in timed} for row in log],
        "validations": (folder / "validations.jsonl").read_text(),
        "summary": {k: v for k, v in json.loads((folder / "summary.json").read_text()).items() if k != "seconds"},
    }


def test_one_update_is_the_mean_gradient_of_every_clip_through_its_own_expert(model: WanModel, data: Cached) -> None:
    recipe = tiny_recipe(model, train__image_dropout="0.0", train__caption_dropout="0.0", train__clip_norm="1e6",
                         train__shift=SHIFT)  # fmt: skip
    settings = recipe.train
    ours, theirs = (model.load_transformer(CPU, torch.float32) for _ in range(2))
    assert isinstance(ours, Experts)
    assert isinstance(theirs, Experts)
    make_trainable(theirs, model, recipe)
    make_trainable(ours, model, tiny_recipe(model, train__checkpointing="true"))
    assert all(part.gradient_checkpointing for part in ours.by_name().values())
    before = [w.detach().clone() for w in lora.parameters(ours)]
    steps = Steps(ours, model, data, recipe)
    both = next(step for step in range(20) if {level >= EDGE for level in steps.batches.levels(step)} == {True, False})
    loss = steps.take(both, rate=0.3)

    losses = []
    for place, n in enumerate(indices(4 * both, 4, len(data.items), recipe.seed), start=4 * both):
        g, none = generator(recipe.seed, place), torch.zeros(1, dtype=torch.bool)
        torch.rand(2, generator=g)
        level = flow.shift_sigma(torch.randn(1, generator=g).sigmoid(), settings.shift)
        latents, condition = collate(data, [n], none, none)
        noise = torch.randn(latents.shape, generator=g)
        noisy = (1 - level) * latents + level * noise
        expert = theirs.transformer if level >= EDGE else theirs.transformer_2
        losses.append((velocity(expert, model.facts, noisy, level, condition) - (noise - latents)).square().mean())
    mean = torch.stack(losses).mean()
    mean.backward()
    assert loss == pytest.approx(mean.item(), rel=1e-5)
    for start, a, b in zip(before, lora.parameters(ours), lora.parameters(theirs), strict=True):
        assert b.grad is not None
        assert torch.allclose(start - a, 0.3 * b.grad, atol=1e-7)


def test_an_expert_without_a_clip_does_not_move(model: WanModel, data: Cached) -> None:
    """Not its weights (decay, momentum), nor what AdamW remembers of it."""
    recipe = tiny_recipe(model, train__batch="1", train__accumulation="1", train__shift=SHIFT)
    network: Any = model.load_transformer(CPU, torch.float32)
    make_trainable(network, model, recipe)
    optimiser = torch.optim.AdamW(lora.parameters(network), lr=1e-2, betas=(0.9, 0.999), weight_decay=0.1)
    steps, seen = Steps(network, model, data, recipe, lambda _: optimiser), []

    def state(part: torch.nn.Module) -> list[torch.Tensor]:
        weights = lora.parameters(part)
        kept = [value for w in weights for value in optimiser.state.get(w, {}).values()]
        return copy.deepcopy([w.detach() for w in weights] + kept)

    for step in range(8):
        before = {name: state(part) for name, part in network.by_name().items()}
        steps.take(step, rate=1e-2)
        (level,) = steps.batches.levels(step)
        went, other = ("high", "low") if level >= EDGE else ("low", "high")
        seen.append(went)
        parts = network.by_name()
        assert len(before[other]) == len(state(parts[other]))
        assert all(map(torch.equal, before[other], state(parts[other])))
        assert not all(map(torch.equal, before[went], state(parts[went])))
    assert {("high", "low"), ("low", "high")} <= set(itertools.pairwise(seen)), "each left alone after it had moved"
    counts = {name: {int(optimiser.state[w]["step"]) for w in lora.parameters(part)} for name, part in parts.items()}
    assert counts == {name: {seen.count(name)} for name in ("high", "low")}


@pytest.mark.parametrize("experts", ["both", "high", "low"])
def test_interrupted_and_resumed_is_bit_for_bit_the_same(
    model: WanModel, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, experts: str
) -> None:
    recipe = tiny_recipe(model, lora__experts=experts, train__shift=SHIFT)
    whole, halves = fresh(prepared, tmp_path / "whole"), fresh(prepared, tmp_path / "halves")
    done = train(whole, recipe, model, device=CPU)

    real, calls = loop.update, []

    def fails(*args: Any) -> Any:  # after step 5; the last checkpoint is of step 4
        calls.append(1)
        if len(calls) > 5:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(loop, "update", fails)
    with pytest.raises(KeyboardInterrupt):
        train(halves, recipe, model, device=CPU)
    monkeypatch.setattr(loop, "update", real)
    train(halves, recipe, model, device=CPU)
    assert artefacts(halves) == artefacts(whole)

    names = [EXPERT_FILES[n] for n in (["high", "low"] if experts == "both" else [experts])]
    assert sorted(file.name for file in (whole / "train/best").iterdir()) == sorted(names)
    assert [file.name for file in done.adapters] == names
    summary = json.loads((whole / "train/summary.json").read_text())
    assert summary["adapter"] == " + ".join(f"best/{name}" for name in names)
    assert summary["adapter_sha256"] == " + ".join(sha256(file) for file in done.adapters)
    levels = [level for row in artefacts(whole)["log"] for level in row["sigma"]]  # type: ignore[attr-defined]
    assert {level >= EDGE for level in levels} == {"both": {True, False}, "high": {True}, "low": {False}}[experts]


def test_an_expert_starts_the_same_alone_and_with_the_other(model: WanModel) -> None:
    starts = {}
    for which in ("both", "high", "low"):
        network: Any = model.load_transformer(CPU, torch.float32)
        make_trainable(network, model, tiny_recipe(model, lora__experts=which))
        starts[which] = {name: lora.parameters(part) for name, part in network.by_name().items()}
    assert (starts["high"]["low"], starts["low"]["high"]) == ([], [])
    for expert in ("high", "low"):
        assert all(map(torch.equal, starts["both"][expert], starts[expert][expert]))
    assert not torch.equal(starts["both"]["high"][0], starts["both"]["low"][0])


@pytest.mark.parametrize("kind", ["two experts", "t2v of two experts"])
def test_an_adapter_works_from_its_experts_side_of_the_boundary_alone(
    tiny: WanModel, tmp_path: Path, kind: str
) -> None:
    model = build(tiny, tmp_path / "model", kind)
    base, g = model.load_transformer(CPU, torch.float32), torch.Generator().manual_seed(1)
    edge = torch.tensor(BOUNDARY[kind])
    sigma = torch.stack([edge.nextafter(torch.tensor(0.0)), edge, torch.tensor(0.05), torch.tensor(0.999)])
    latents = torch.randn(4, 16, 2, 4, 6, generator=g)
    encoders = model.load_encoders(CPU)
    first = encoders.condition(torch.rand(1, 3, 32, 48, generator=g), 5).expand(4, -1, -1, -1, -1)
    text = torch.randn(4, 3, 64, generator=g)
    condition = Condition(first, torch.zeros(4, 0, 96), text, (3,) * 4)
    for which, moved in (("high", [False, True, False, True]), ("low", [True, False, True, False])):
        network = model.load_transformer(CPU, torch.float32)
        make_trainable(network, model, tiny_recipe(model, lora__experts=which))
        for weight in lora.parameters(network):
            weight.data = torch.randn(weight.shape, generator=g) * 0.2
        with torch.no_grad():
            plain, tuned = (model.velocity(n, latents, sigma, condition) for n in (base, network))
        assert [not torch.equal(a, b) for a, b in zip(plain, tuned, strict=True)] == moved


def test_one_expert_of_a_model_of_one_network_is_refused_before_anything_is_loaded(
    tiny: WanModel, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"lora\.experts = 'high': .* has one network"):
        train(tmp_path / "nothing here", tiny_recipe(tiny, lora__experts="high"), tiny, device=CPU)
