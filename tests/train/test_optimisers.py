import copy
import sys

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from cinetune.errors import RecipeError
from cinetune.models._wan import WanModel
from cinetune.recipe import Recipe
from cinetune.train import schedules
from cinetune.train.engines._contract import Ranks
from cinetune.train.engines.single import Single
from cinetune.train.optimisers import make_optimiser, rates
from cinetune.train.trainable import make_trainable, named_trainable
from tiny_run import tiny_recipe
from tiny_step import CPU

NEEDS = {"adamw": "torch", "muon": "torch", "prodigy": "prodigyopt", "adamw8bit": "bitsandbytes"}


class Small(torch.nn.Module):
    """A matrix, a vector, and a B of LoRA; 8-bit states begin at 4096 numbers."""

    def __init__(self) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(0)
        for name, shape in (("wide", (64, 80)), ("vector", (16,))):
            self.register_parameter(name, torch.nn.Parameter(torch.randn(shape, generator=g)))
        adapted = torch.nn.ModuleDict({"lora_B": torch.nn.ModuleDict({"default": torch.nn.Linear(4, 6, bias=False)})})
        self.to_q = adapted
        for weight in adapted.parameters():
            weight.data = torch.randn(6, 4, generator=g)

    def grad(self, step: int) -> None:
        """Give every weight a gradient towards a place of its own."""
        for n, weight in enumerate(self.parameters()):
            g = torch.Generator().manual_seed(100 * step + n)
            weight.grad = weight.detach() - n + 0.1 * torch.randn(weight.shape, generator=g)


def recipe_for(model: WanModel, **changes: str) -> Recipe:
    if changes.get("train__optimiser") == "prodigy":
        changes = {"train__learning_rate": "1.0", **changes}
    return tiny_recipe(model, **{"train__learning_rate": "0.01", "train__weight_decay": "0.1", **changes})


def run(network: Small, optimiser: torch.optim.Optimizer, recipe: Recipe, steps: range) -> None:
    for step in steps:
        lrs = rates(recipe, schedules.share(step, recipe.train))
        for group in optimiser.param_groups:
            group["lr"] = lrs[group["name"]]
        network.grad(step)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


def test_adamw_is_torchs_as_it_was(tiny: WanModel) -> None:
    recipe = recipe_for(tiny)
    ours, theirs = Small(), Small()
    settings = recipe.train
    plain = torch.optim.AdamW(
        list(theirs.parameters()), lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay
    )
    made = make_optimiser(ours, recipe)
    assert [(g["name"], g["scale"]) for g in made.param_groups] == [("weights", 1.0)]
    run(ours, made, recipe, range(5))
    for step in range(5):
        plain.param_groups[0]["lr"] = settings.learning_rate * schedules.share(step, settings)
        theirs.grad(step)
        plain.step()
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))


def test_lora_plus_moves_b_faster_by_the_ratio(tiny: WanModel) -> None:
    """The first step of Adam is the learning rate, whatever the gradient."""
    recipe = recipe_for(tiny, lora__plus_ratio="16", train__weight_decay="0", train__warmup="0")
    network = Small()
    before = copy.deepcopy(network)
    made = make_optimiser(network, recipe)
    assert {g["name"]: g["scale"] for g in made.param_groups} == {"weights": 1.0, "B": 16.0}
    assert rates(recipe, 0.5) == {"weights": 0.005, "B": 0.08, "others": 0.005}
    run(network, made, recipe, range(1))
    for (name, old), new in zip(before.named_parameters(), network.parameters(), strict=True):
        rate = 0.16 if "lora_B" in name else 0.01
        assert torch.allclose((old - new).abs(), torch.full_like(old, rate), rtol=1e-4)


def test_every_adapter_weight_is_in_one_group(tiny: WanModel) -> None:
    recipe = recipe_for(tiny, lora__plus_ratio="4", lora__dora="true", train__optimiser="muon")
    network = tiny.load_transformer(CPU, torch.float32)
    make_trainable(network, tiny, recipe)
    groups = {g["name"]: {id(w) for w in g["params"]} for g in make_optimiser(network, recipe).param_groups}
    names = {id(w): name for name, w in named_trainable(network).items()}
    assert sum(map(len, groups.values())) == len(names)
    kinds = {group: {names[i].split(".lora_")[1].split(".")[0] for i in members} for group, members in groups.items()}
    assert kinds == {"weights": {"A"}, "B": {"B"}, "others": {"magnitude_vector"}}


def test_muon_turns_matrices_and_leaves_the_rest_to_adamw(tiny: WanModel) -> None:
    recipe = recipe_for(tiny, train__optimiser="muon", train__weight_decay="0", train__warmup="0")
    network, plain = Small(), Small()
    before = copy.deepcopy(network)
    run(network, make_optimiser(network, recipe), recipe, range(3))
    run(plain, make_optimiser(plain, recipe_for(tiny, train__weight_decay="0", train__warmup="0")), recipe, range(3))
    assert torch.equal(network.vector, plain.vector)
    assert not torch.equal(network.wide, plain.wide)
    one = copy.deepcopy(before)
    run(one, make_optimiser(one, recipe), recipe, range(1))
    values = torch.linalg.svdvals((one.wide - before.wide).detach())
    size = 0.01 * 0.2 * 80**0.5  # learning rate, times 0.2 sqrt(the longer side)
    assert values.min() > 0.4 * size, "all directions alike, within what five Newton-Schulz iterations leave"
    assert values.max() < 1.6 * size


def test_prodigy_finds_the_rate_by_itself(tiny: WanModel) -> None:
    pytest.importorskip("prodigyopt", reason="prodigyopt is not installed: pip install 'cinetune[optimisers]'")
    recipe = recipe_for(tiny, train__optimiser="prodigy", train__steps="200", train__schedule="constant",
                        train__weight_decay="0")  # fmt: skip
    network = Small()
    start = (network.wide.detach() - 0).square().mean().item()
    made = make_optimiser(network, recipe)
    run(network, made, recipe, range(200))
    assert made.param_groups[0]["d"] > 1e-3, "from 1e-6"
    assert (network.wide.detach() - 0).square().mean().item() < 0.05 * start


@pytest.mark.parametrize("name", NEEDS)
def test_half_saved_by_weight_and_loaded_is_the_whole_run(tiny: WanModel, name: str) -> None:
    """Through an engine's state, which knows nothing but weights and what is kept for each."""
    pytest.importorskip(NEEDS[name], reason=f"{NEEDS[name]} is not installed: pip install 'cinetune[optimisers]'")
    recipe = recipe_for(tiny, train__optimiser=name, lora__plus_ratio="1" if name == "prodigy" else "4")

    def started() -> tuple[Small, Single]:
        network, engine = Small(), Single(Ranks(), CPU)
        engine.prepare(network, lambda wrapped: make_optimiser(wrapped, recipe))
        return network, engine

    def go(network: Small, engine: Single, steps: range) -> None:
        for step in steps:
            network.grad(step)
            engine.step(1.0, rates(recipe, schedules.share(step, recipe.train)))

    whole, engine = started()
    go(whole, engine, range(8))
    half, engine = started()
    go(half, engine, range(4))
    state = copy.deepcopy(engine.state())
    assert state is not None
    other, engine = started()
    engine.load_state(state)
    go(other, engine, range(4, 8))
    assert all(map(torch.equal, other.parameters(), whole.parameters()))
    assert not torch.equal(half.wide, whole.wide)


def test_what_is_not_installed_is_one_line(tiny: WanModel, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("prodigy", "adamw8bit"):
        monkeypatch.setitem(sys.modules, NEEDS[name], None)
        with pytest.raises(RecipeError, match=rf"'{name}' needs {NEEDS[name]}.*pip install 'cinetune\[optimisers\]'"):
            make_optimiser(Small(), recipe_for(tiny, train__optimiser=name))
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(RecipeError, match=r"torch .* has none; install torch 2\.9"):
        make_optimiser(Small(), recipe_for(tiny, train__optimiser="muon"))


def test_sharded_weights_are_for_adamw_alone(tiny: WanModel) -> None:
    """Muon's matrix products, Prodigy's sums and 8-bit blocks are of whole weights."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        network = fully_shard(Small(), mesh=init_device_mesh("cpu", (1,)))
        assert make_optimiser(network, recipe_for(tiny)).param_groups[0]["name"] == "weights"
        for name in sorted(set(NEEDS) - {"adamw"}):
            with pytest.raises(RecipeError, match=rf"'{name}' needs whole weights; set system\.engine to ddp"):
                make_optimiser(network, recipe_for(tiny, train__optimiser=name))
    finally:
        torch.distributed.destroy_process_group()
