"""The networks of the cells: all share the base's weights, and compute what they should."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cinetune.bench.machine import compiled_one_by_one
from cinetune.bench.plan import BASE, CONTROL, Cell, Plan, Size
from cinetune.bench.rounds import order
from cinetune.bench.subjects import Subjects, weight_bytes
from cinetune.errors import RecipeError
from cinetune.models._wan import WanModel

CPU = torch.device("cpu")
SMALL, OTHER = Size(5, 32, 48), Size(9, 32, 32)
PLAN = Plan("tiny", ranks=(0, 2, 8), arms=("merged", "unmerged", "padded"), sizes=(SMALL, OTHER), targets="attention")


@pytest.fixture(scope="module")
def subjects(tiny: WanModel) -> Subjects:
    return Subjects(PLAN, tiny, CPU)


def answer(subjects: Subjects, arm: str, rank: int, size: Size = SMALL) -> torch.Tensor:
    work: Callable[[], Any] = subjects.work(Cell(arm, rank, size))
    out: torch.Tensor = work()
    return out


def test_all_arms_compute_the_same_adapter(subjects: Subjects) -> None:
    base = answer(subjects, BASE, 0)
    assert torch.equal(answer(subjects, CONTROL, 0), base)
    for rank in PLAN.adapted:
        beside = answer(subjects, "unmerged", rank)
        scale = (beside - base).abs().max()
        assert scale > 1e-3, "the adapter does nothing"
        for arm in ("merged", "padded"):
            assert (answer(subjects, arm, rank) - beside).abs().max() < 1e-4 * scale + 1e-6
    assert torch.equal(answer(subjects, BASE, 0), base), "an adapter has changed the base"
    assert not torch.equal(answer(subjects, "unmerged", 2), answer(subjects, "unmerged", 8))


def test_weights_are_shared_but_for_the_merged_ones(subjects: Subjects) -> None:
    whole = {weight.data_ptr() for weight in subjects.base.parameters()}
    beside = dict(subjects.network(Cell("unmerged", 8, SMALL)).named_parameters())
    assert {w.data_ptr() for name, w in beside.items() if "lora_" not in name} == whole
    merged = dict(subjects.network(Cell("merged", 8, SMALL)).named_parameters())
    own = {name for name, weight in merged.items() if weight.data_ptr() not in whole}
    assert own
    assert all(".attn" in name and name.endswith(".weight") for name in own)
    assert not any(weight.requires_grad for weight in (*beside.values(), *merged.values()))


def test_padded_is_as_large_as_the_largest_rank(subjects: Subjects) -> None:
    small, large = (subjects.network(Cell("padded", rank, SMALL)) for rank in PLAN.adapted)
    assert weight_bytes(small) == weight_bytes(large) == weight_bytes(subjects.network(Cell("unmerged", 8, SMALL)))
    assert weight_bytes(subjects.network(Cell("unmerged", 2, SMALL))) < weight_bytes(small)
    a = next(weight for name, weight in small.named_parameters() if "lora_A" in name)
    assert a.shape[0] == 8
    assert not a[2:].any()


def test_cells_of_two_sizes_share_a_network(subjects: Subjects) -> None:
    assert subjects.network(Cell("merged", 2, SMALL)) is subjects.network(Cell("merged", 2, OTHER))
    assert answer(subjects, "merged", 2, OTHER).shape[2:] == (3, 4, 4)


@pytest.mark.parametrize("kind", ["forward", "block"])
def test_flops_are_those_of_what_is_timed(tiny: WanModel, kind: str) -> None:
    made = Subjects(dataclasses.replace(PLAN, kind=kind), tiny, CPU)
    work = made.work(Cell(BASE, 0, SMALL))
    # as two products, which are counted; the CPU's own kernel is not
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counted:
        work()
    assert made.flops(SMALL) == pytest.approx(counted.get_total_flops(), rel=1e-3)


def test_a_block_alone_is_the_networks_first(tiny: WanModel) -> None:
    made = Subjects(dataclasses.replace(PLAN, kind="block"), tiny, CPU)
    any_base: Any = made.base
    assert len(any_base.blocks) == 1
    assert answer(made, "unmerged", 8).shape == (1, 2 * 2 * 3, made.sizes.width)
    assert not torch.equal(answer(made, "unmerged", 8), answer(made, BASE, 0))


def test_a_window_goes_through_the_network_of_its_cell(tiny: WanModel) -> None:
    plan = dataclasses.replace(PLAN, kind="whole", steps=2, sizes=(SMALL,))
    made = Subjects(plan, tiny, CPU)
    base: Any = made.work(Cell(BASE, 0, SMALL))()
    beside: Any = made.work(Cell("unmerged", 8, SMALL))()
    assert base.shape == (5, 32, 48, 3)
    assert (base != beside).any()
    assert made.flops(SMALL) is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, while it compiles
def test_compiled_computes_the_same_and_leaves_the_others_alone(tiny: WanModel) -> None:
    plan = dataclasses.replace(PLAN, arms=("unmerged", "compiled"), sizes=(SMALL,))
    made = Subjects(plan, tiny, CPU)
    before = torch._dynamo.config.recompile_limit
    with compiled_one_by_one():
        for rank in (0, 8):
            plain = answer(made, "unmerged" if rank else BASE, rank)
            assert (answer(made, "compiled", rank) - plain).abs().max() < 1e-4
    assert torch._dynamo.config.recompile_limit == before
    assert getattr(made.base.blocks[0], "_compiled_call_impl", None) is None  # type: ignore[index, union-attr]


def test_an_order_holds_every_cell_once_and_changes_from_round_to_round() -> None:
    cells = list(PLAN.cells())
    orders = [order(cells, 0, number) for number in range(20)]
    assert all(sorted(one) == sorted(cells) for one in orders)
    assert len({tuple(one) for one in orders}) == 20
    assert orders == [order(cells, 0, number) for number in range(20)]
    assert orders[0] != order(cells, 1, 0)


def test_cells() -> None:
    plan = dataclasses.replace(PLAN, arms=("merged", "compiled"), sizes=(SMALL,))
    assert list(map(str, plan.cells())) == [
        "base 0 5x32x48", "control 0 5x32x48", "merged 2 5x32x48", "merged 8 5x32x48",
        "compiled 0 5x32x48", "compiled 2 5x32x48", "compiled 8 5x32x48",
    ]  # fmt: skip
    assert Cell("compiled", 8, SMALL).reference == Cell("compiled", 0, SMALL)
    assert Cell("compiled", 0, SMALL).reference == Cell("merged", 8, SMALL).reference == Cell(BASE, 0, SMALL)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"arms": ("fused",)}, "--arms fused: no such arm; choose merged, unmerged, compiled, padded"),
        ({"ranks": ()}, "--shapes, --ranks: give one size"),
        ({"sizes": (SMALL, SMALL)}, "one is there twice"),
        ({"precision": "fp8"}, "--precision fp8: choose fp32 or bf16"),
        ({"kind": "step"}, "step: no such work"),
        ({"weights": "own"}, "--weights own: choose"),
    ],
)
def test_a_plan_out_of_range_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        dataclasses.replace(PLAN, **change).check()


@pytest.mark.parametrize("text", ["17x64", "17x64xwide", "17,64,96", ""])
def test_a_size_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="write FRAMESxHEIGHTxWIDTH"):
        Size.parse(text)
