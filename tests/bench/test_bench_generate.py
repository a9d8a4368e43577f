"""A whole bench on a network of random weights: what it writes, how it goes on, whom it keeps out."""

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from cinetune import cli_bench
from cinetune.bench import generate as verb
from cinetune.bench.generate import bench_generate
from cinetune.bench.journal import Journal
from cinetune.bench.plan import ARMS, Plan, Size
from cinetune.bench.subjects import Subjects
from cinetune.errors import RecipeError, RunError
from cinetune.models._wan import WanModel

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {"arms": ("merged",), "ranks": (0, 2), "levers": ()}
PLAN = Plan(
    "tiny", ranks=(0, 2, 4), arms=("merged", "unmerged", "padded"), sizes=(Size(5, 32, 48),), rounds=3, repeats=1,
    steps=2, levers=(":exact", "merge", "offload"), windows=2,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Benches of other tests, and a user's own, do not lock this one out."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def bench(tiny: WanModel, out: Path, **changes: Any) -> dict[str, Any]:
    return bench_generate(dataclasses.replace(PLAN, **changes), tiny, out, device=CPU)


def test_it_measures_writes_and_shows(tiny: WanModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    tree = bench(tiny, tmp_path / "out")
    assert torch.get_num_threads() == threads
    assert tree == json.loads((tmp_path / "out" / "bench.json").read_text(encoding="utf-8"))
    assert (tree["schema"], tree["clock"], tree["rounds"]) == (1, "cpu", 3)
    assert [f"{cell['arm']} {cell['rank']}" for cell in tree["cells"]] == [
        "base 0", "control 0", "merged 2", "merged 4", "unmerged 2", "unmerged 4", "padded 2", "padded 4",
    ]  # fmt: skip
    cells = {(cell["arm"], cell["rank"]): cell for cell in tree["cells"]}
    assert cells["base", 0]["over_base"] is None
    assert all(cell["seconds"] > 0 and cell["share_of_limit"] > 0 and cell["peak"] > 0 for cell in tree["cells"])
    assert cells["base", 0]["weights"] == cells["merged", 4]["weights"] < cells["unmerged", 2]["weights"]
    assert cells["padded", 2]["weights"] == cells["padded", 4]["weights"] == cells["unmerged", 4]["weights"]
    assert {line["arm"] for line in tree["latency"] if line["model"]} == set(PLAN.arms)
    assert tree["machine"]["device"].startswith("cpu, ")
    assert tree["versions"]["torch"] == torch.__version__.partition("+")[0] or tree["versions"]["torch"]
    assert all(state["load"] >= 0 for state in tree["states"])
    levers = {lever["lever"]: lever for lever in tree["levers"]}
    assert levers[":exact"]["same"] == 2, "exact is not the same twice"
    assert levers[":exact"]["scores"]["psnr"]["reason"].startswith("no window has a value")
    assert levers["merge"]["scores"]["lpips"]["estimate"][0] < 0.01
    assert levers["merge"]["scores"]["lpips"]["reason"] == "2 windows; an interval needs 8"
    assert levers["offload"]["reason"].startswith("--lever offload: give --lever offload=VALUE")
    shown, table = capsys.readouterr().out, (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    for text in ("one forward pass at 5x32x48", "latency(r) = base (1 + c0 + c1 r)", "levers against exact"):
        assert text in shown
        assert f"## {text}" in table
    for name in ("latency.png", "levers.png"):
        with Image.open(tmp_path / "out" / name) as picture:
            assert min(picture.size) > 300
    assert not list((tmp_path / "out").glob(".*"))


def test_it_goes_on_where_it_was_killed(tiny: WanModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, add = tmp_path / "out", Journal.add

    def killed(journal: Journal, what: str, **fields: Any) -> dict[str, Any]:
        if what == "round" and fields["round"] == 2:
            raise KeyboardInterrupt
        return add(journal, what, **fields)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            bench(tiny, out, **SMALL)
    assert not (out / "bench.json").exists()
    before = [line for line in (out / "measured.jsonl").read_text().splitlines() if '"what": "round"' in line]
    assert len(before) == 2
    tree = bench(tiny, out, **SMALL)
    after = [line for line in (out / "measured.jsonl").read_text().splitlines() if '"what": "round"' in line]
    assert after[:2] == before
    assert (len(after), tree["rounds"]) == (3, 3)
    monkeypatch.setattr(Subjects, "work", _refuse)
    assert bench(tiny, out, **SMALL)["seconds"] == tree["seconds"]


def _refuse(*_: object) -> None:
    raise AssertionError("there was nothing left to measure")


def test_two_benches_do_not_run_at_once(tiny: WanModel, tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        lock = tmp_path / "cache" / "cinetune" / "bench" / ".lock"
        lock.parent.mkdir(parents=True)
        lock.write_text(str(other.pid))
        with pytest.raises(RunError, match=f"process {other.pid} is working here"):
            bench(tiny, tmp_path / "out")
    finally:
        other.kill()
        other.wait()


def test_another_plan_is_not_put_into_the_same_folder(tiny: WanModel, tmp_path: Path) -> None:
    bench(tiny, tmp_path / "out", rounds=1, **SMALL)
    with pytest.raises(RunError, match=r"out: was begun with rounds = 1, this is 2; choose another --out"):
        bench(tiny, tmp_path / "out", rounds=2, **SMALL)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans that commands ask for, none carried out."""
    plans: list[Plan] = []
    monkeypatch.setattr(verb, "bench_generate", lambda plan, *_, **__: plans.append(plan))
    return plans


def command(*words: str) -> Any:
    return CliRunner().invoke(cli_bench.app, ["generate", "--device", "cpu", *words])


def test_the_command_asks_for_the_whole_grid(asked: list[Plan]) -> None:
    assert command().exit_code == 0
    (plan,) = asked
    assert plan.ranks == (0, 4, 8, 16, 32, 64, 128)
    assert plan.arms == tuple(ARMS)
    assert {"merge", "compile", ":exact", ":balanced", ":fast"} <= set(plan.levers)
    assert (plan.precision, plan.weights, plan.processes) == ("fp32", "nano", (1, 2))
    assert plan == Plan("nano", levers=plan.levers, processes=(1, 2))


def test_what_is_given_goes_before_quick_and_the_models_own(asked: list[Plan]) -> None:
    large = "random:wan2.1-i2v-14b-480p"
    assert command("--model", large, "--block", "--ranks", "0,8", "--arms", "merged").exit_code == 0
    assert command("--quick", "--rounds", "7", "--levers", "none", "--whole").exit_code == 0
    block, quick = asked
    assert (block.model, block.kind, block.ranks, block.arms) == (large, "block", (0, 8), ("merged",))
    assert (block.sizes, block.steps, block.levers) == ((Size(33, 480, 832), Size(81, 480, 832)), 40, ())
    assert (quick.kind, quick.rounds, quick.levers, quick.windows) == ("whole", 7, (), 2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--block", "--whole"), "one or the other"),
        (("--ranks", "4,eight"), "write whole numbers"),
        (("--shapes", "17x64"), "write FRAMESxHEIGHTxWIDTH"),
    ],
)
def test_wrong_options_are_refused(words: tuple[str, ...], said: str) -> None:
    answer = command(*words)
    assert isinstance(answer.exception, RecipeError)
    assert said in str(answer.exception)


@pytest.mark.slow
def test_processes_share_a_window(tiny: WanModel, tmp_path: Path) -> None:
    plan = dataclasses.replace(PLAN, model=tiny.source, arms=(), ranks=(0,), rounds=1, levers=(), processes=(2, 5))
    tree = bench_generate(plan, tiny, tmp_path / "out", device=CPU)
    one, two, five = tree["processes"]
    assert (one["processes"], one["speedup"]) == (1, 1.0)
    assert (two["processes"], two["shared"]) == (2, "ulysses=2")
    assert two["speedup"] == pytest.approx(one["median"] / two["median"])
    assert "5" in five["reason"]


@pytest.mark.slow
def test_killed_by_the_system_it_loses_one_round(tiny: WanModel, tmp_path: Path) -> None:
    plan = dataclasses.replace(PLAN, model=tiny.source, rounds=60, **SMALL)
    out, code = tmp_path / "out", (
        "import sys, torch; from pathlib import Path; from cinetune.bench.generate import bench_generate; "
        "from cinetune.bench.plan import *; from cinetune.models._resolve import find_model; "
        "plan = eval(sys.argv[1]); "
        "bench_generate(plan, find_model(plan.model), Path(sys.argv[2]), device=torch.device('cpu'))"
    )  # fmt: skip
    command, journal = [sys.executable, "-c", code, repr(plan), str(out)], out / "measured.jsonl"
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (journal.is_file() and journal.read_bytes().count(b'"what": "round"') >= 3):
        assert child.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.kill()
    child.wait()
    before = [line for line in journal.read_text().splitlines(keepends=True) if line.endswith("\n")]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    assert journal.read_text().startswith("".join(before))
    tree = json.loads((out / "bench.json").read_text(encoding="utf-8"))
    assert tree["rounds"] == 60
    assert [state["round"] for state in tree["states"]] == list(range(60))
