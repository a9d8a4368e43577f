"""Every engine has the numbers of one process: gradients, 20 steps, and the state that goes from one to the next."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, distributed

import engine_ranks
from cinetune.errors import RunError
from cinetune.train.engines._contract import Engine, State
from cinetune.train.engines._start import start_engine
from engine_ranks import AGAIN, CPU, RATE, adamw, build, line, one_step, steps

EQUAL = 1e-5
"""Relative; fp32 sums in another order differ by about 1e-7."""
PLAIN = ["ddp", "fsdp2", "zero2", "zero3"]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of the processes found."""
    if not hasattr(os, "fork"):
        pytest.skip("processes are forked, which this system cannot do")
    folder = tmp_path_factory.mktemp("ranks")
    found = subprocess.run([sys.executable, engine_ranks.__file__, folder], capture_output=True, text=True, timeout=500)
    assert found.returncode == 0, found.stderr[-4000:]
    notes = [text for text in found.stderr.splitlines() if text.startswith("train: engine")]
    assert "train: engine fsdp2, 4 processes on cpu, each clip's tokens shared by 2 (Ulysses)" in notes
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(4)]


@pytest.fixture
def one() -> Engine:
    """The engine of one process."""
    return start_engine("auto", 1, CPU)


def case(ranks: list[dict[str, Any]], name: str) -> Any:
    """What the main process found."""
    if name.startswith("zero") and name not in ranks[0]:
        pytest.skip("DeepSpeed is not installed; pip install 'cinetune[deepspeed]'")
    return ranks[0][name]


def apart(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """The largest difference of a weight, relative to the weight's norm."""
    assert list(found) == list(expected)
    return max(float((found[name] - expected[name]).norm() / expected[name].norm()) for name in expected)


def curves_apart(found: list[tuple[float, float]], expected: list[tuple[float, float]]) -> float:
    """The largest relative difference of a loss or a gradient's norm."""
    assert len(found) == len(expected)
    return max(abs(a / b - 1) for f, e in zip(found, expected, strict=True) for a, b in zip(f, e, strict=True))


def gradient(found: Any) -> dict[str, Tensor]:
    return {name: weight - found["after"].weights[name] for name, weight in found["before"].weights.items()}


@pytest.mark.parametrize("name", [*PLAIN, "four", "fsdp2 all"])
def test_the_gradient_is_that_of_one_process(ranks: list[dict[str, Any]], name: str) -> None:
    """four: FSDP2 x Ulysses on four processes; all: every weight is trained."""
    expected = gradient(ranks[3]["all" if name == "fsdp2 all" else "adapter"])
    assert all(g.norm() > 0 for g in expected.values())
    assert apart(gradient(case(ranks, name)), expected) < EQUAL


@pytest.mark.parametrize("name", [*PLAIN, "four"])
def test_twenty_steps_are_those_of_one_process(ranks: list[dict[str, Any]], name: str) -> None:
    found, expected = case(ranks, name), ranks[3]["adapter"]
    assert len(found["curve"]) == 20
    norms = [norm for _, norm in expected["curve"]]
    assert min(norms) < 2 * max(norms)
    assert max(norms) > 0.04  # the bound, so that clipping is in what is compared
    assert curves_apart(found["curve"], expected["curve"]) < EQUAL
    assert apart(found["end"].weights, expected["end"].weights) < EQUAL
    for key in ("step", "exp_avg", "exp_avg_sq"):
        averages = [{n: kept[key] for n, kept in of["end"].optimiser.items()} for of in (found, expected)]
        assert apart(*averages) < EQUAL
    assert {float(kept["step"]) for kept in found["end"].optimiser.values()} == {20.0}


@pytest.mark.parametrize("name", [*PLAIN, "fsdp2 all"])
def test_an_engine_goes_on_from_its_own_state_bit_for_bit(ranks: list[dict[str, Any]], name: str) -> None:
    found = case(ranks, name)
    assert found["own"]["curve"] == found["curve"][-AGAIN:]
    same(found["own"]["end"], found["end"])


@pytest.mark.parametrize("name", PLAIN)
def test_an_engine_goes_on_from_the_state_of_the_one_before(ranks: list[dict[str, Any]], name: str) -> None:
    """ddp from fsdp2 on four processes, fsdp2 from ddp, zero2 from fsdp2, zero3 from zero2; onto a state of its own."""
    found, expected = case(ranks, name)["other"], ranks[3]["adapter"]
    assert curves_apart(found["curve"], expected["curve"][-AGAIN:]) < EQUAL
    assert apart(found["end"].weights, expected["end"].weights) < EQUAL


@pytest.mark.parametrize("name", PLAIN)
def test_one_process_goes_on_from_the_state_of_many(ranks: list[dict[str, Any]], one: Engine, name: str) -> None:
    network = one.prepare(build(adapter_seed=7, blocks=2), adamw)
    one.load_state(case(ranks, name)["middle"])
    curve = steps(one, network, 20 - AGAIN, 20)
    assert curves_apart(curve, ranks[3]["adapter"]["curve"][-AGAIN:]) < EQUAL


def test_the_main_process_alone_has_the_state(ranks: list[dict[str, Any]]) -> None:
    assert all(found["four"]["end"] is None for found in ranks[1:])
    assert all(found["four"]["curve"] == ranks[0]["four"]["curve"] for found in ranks[1:])
    assert [(found["ranks"].data_rank, found["ranks"].data_world) for found in ranks] == [
        (0, 2),
        (0, 2),
        (1, 2),
        (1, 2),
    ]
    assert all(found["gathered"] == ["from 0", "from 2"] for found in ranks)


@pytest.mark.parametrize("name", PLAIN)
def test_ranks_that_share_tokens_have_the_numbers_of_one_process(ranks: list[dict[str, Any]], name: str) -> None:
    """With checkpointing, which must call the other ranks again in the same order, and from unequal first adapters."""
    found, expected = case(ranks, f"{name} x 2"), ranks[3]["short"]
    assert apart({"base": found["base"]}, {"base": expected["base"]}) < EQUAL
    assert curves_apart(found["curve"], expected["curve"]) < EQUAL
    assert apart(found["end"].weights, expected["end"].weights) < EQUAL


@pytest.mark.parametrize("name", PLAIN)
def test_a_base_in_bf16_beside_an_adapter_in_fp32(ranks: list[dict[str, Any]], name: str) -> None:
    """The first step; then differences of 1e-7 in the weights are rounded up to bf16's, 4e-3."""
    found, expected = case(ranks, f"{name} bf16"), ranks[3]["bf16"]
    assert all(weight.dtype == torch.float32 for weight in found["end"].weights.values())
    assert curves_apart(found["curve"], expected["curve"]) < EQUAL
    assert curves_apart(found["curve"], ranks[3]["short"]["curve"][:1]) > EQUAL


@pytest.mark.parametrize("name", ["ddp experts", "ddp x 2 experts"])
def test_an_expert_without_clips_stays_as_it_was(ranks: list[dict[str, Any]], name: str) -> None:
    found, expected = ranks[0][name], ranks[3]["experts"]
    assert curves_apart(found["curve"], expected["curve"]) < EQUAL
    for of in (found, expected):
        before, without, after = of["states"]
        low = [name for name in before.weights if name.startswith("transformer_2.")]
        assert low
        assert all(torch.equal(before.weights[name], without.weights[name]) for name in low)
        assert {float(after.optimiser[name]["step"]) for name in low} == {2.0}
        assert {float(after.optimiser[name]["step"]) for name in after.weights if name not in low} == {3.0}


@pytest.mark.parametrize("name", PLAIN)
def test_a_gradient_that_is_no_number_is_an_error_on_every_rank(ranks: list[dict[str, Any]], name: str) -> None:
    case(ranks, name)
    for found in ranks[:2]:
        assert "the gradient is not finite" in found[f"{name} not finite"]
    if not name.startswith("zero"):
        assert "lora_A.default.weight" in ranks[0][f"{name} not finite"]


def test_what_cannot_be_shared_out_is_said(ranks: list[dict[str, Any]]) -> None:
    for found in ranks:
        assert found["uneven group"] == "system.context_parallel = 3 does not divide the number of processes, 4"
        assert found["uneven heads"] == "system.context_parallel = 4 does not divide the model's 2 attention heads"
        assert found["uneven tokens"].startswith("system.context_parallel = 2 does not divide the 3 tokens of")
    for found in ranks[:2]:
        assert found["single"].startswith("system.engine = 'single', but there are 2 processes; start one")
        assert found["fsdp2 two experts"] == "system.engine = 'fsdp2' cannot train a model of two experts; choose 'ddp'"


@pytest.mark.parametrize("name", ["zero2", "zero3"])
def test_zero_refuses_what_one_flat_vector_cannot_do(ranks: list[dict[str, Any]], name: str) -> None:
    case(ranks, name)
    assert ranks[0][f"{name} two experts"].endswith("cannot train a model of two experts; choose 'ddp'")
    assert "which Muon cannot update; set train.optimiser to adamw" in ranks[0][f"{name} muon"]
    assert "counts one step for all weights" in ranks[0][f"{name} uneven steps"]


def test_a_sharding_engine_in_one_process(one: Engine) -> None:
    """Without torchrun: nobody to meet."""
    sharded = start_engine("fsdp2", 1, CPU)
    try:
        curves = [steps(engine, engine.prepare(build(), adamw), 0, 2) for engine in (sharded, one)]
        assert curves_apart(*curves) < EQUAL
    finally:
        sharded.close()
    assert not distributed.is_initialized()


def test_a_bad_gradient_changes_nothing(one: Engine) -> None:
    network = one.prepare(build(), adamw)
    steps(one, network, 0, 1)
    before = one.state()
    assert before is not None
    name, weight = next(item for item in network.named_parameters() if "attn2.to_q.lora_B" in item[0])
    weight.register_hook(lambda grad: grad * float("nan"))
    with pytest.raises(RunError, match=re.escape(f"not finite (norm nan in {name}); lower")):
        one_step(one, network, 1, RATE, 1.0)
    after = one.state()
    assert after is not None
    same(before, after)


def test_a_state_of_other_weights(one: Engine) -> None:
    one.prepare(build(), adamw)
    state = one.state()
    assert state is not None
    name = sorted(state.weights)[0]
    fewer = State({n: w for n, w in state.weights.items() if n != name}, state.optimiser)
    with pytest.raises(RunError, match=f"of other weights.*{name}"):
        one.load_state(fewer)


def test_a_state_is_a_copy(one: Engine) -> None:
    network = one.prepare(build(), adamw)
    steps(one, network, 0, 1)
    state = one.state()
    assert state is not None
    copy = {name: weight.clone() for name, weight in state.weights.items()}
    averages = {name: kept["exp_avg"].clone() for name, kept in state.optimiser.items()}
    one.load_state(state)
    steps(one, network, 1, 2)
    assert all(torch.equal(state.weights[name], weight) for name, weight in copy.items())
    assert all(torch.equal(state.optimiser[name]["exp_avg"], average) for name, average in averages.items())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2, but RANK is ''; start with torchrun, or unset WORLD_SIZE"),
        ({"WORLD_SIZE": "two", "RANK": "0", "LOCAL_RANK": "0"}, "WORLD_SIZE is 'two'"),
        ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}, "MASTER_ADDR or MASTER_PORT is not set"),
        (
            {"WORLD_SIZE": "2", "RANK": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"},
            "RANK is 2, but WORLD_SIZE is 2",
        ),
    ],
)
def test_an_environment_that_is_not_torchruns(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], said: str
) -> None:
    for key in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(key, raising=False)
    for key, value in given.items():
        monkeypatch.setenv(key, value)
    assert said in line(lambda: start_engine("auto", 1, CPU))


def test_one_process_cannot_share_tokens() -> None:
    assert "context_parallel = 2 does not divide the number of processes, 1" in line(
        lambda: start_engine("auto", 2, CPU)
    )


def test_without_deepspeed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert line(lambda: start_engine("zero2", 1, CPU)).startswith(
        "system.engine = 'zero2' needs DeepSpeed; pip install"
    )
    assert not distributed.is_initialized()


def same(found: State, expected: State) -> None:
    """Bit for bit."""
    assert list(found.weights) == list(expected.weights)
    assert all(torch.equal(found.weights[name], weight) for name, weight in expected.weights.items())
    for name, kept in expected.optimiser.items():
        assert {k: v.tolist() for k, v in found.optimiser[name].items()} == {k: v.tolist() for k, v in kept.items()}
