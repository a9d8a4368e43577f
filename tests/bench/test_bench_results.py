"""From a journal with known times to the numbers of bench.json, and from these to tables and plots."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from cinetune.bench.journal import Journal
from cinetune.bench.plan import Plan, Size
from cinetune.bench.plots import draw
from cinetune.bench.results import gather
from cinetune.bench.tables import markdown, show

SIZE = Size(17, 64, 96)
PLAN = Plan("nano", ranks=(0, 4, 8, 128), sizes=(SIZE,), steps=10, guidance=5.0, levers=("merge", "sage"), windows=8)
BASE, COMPILED, DECODE = 0.030, 0.020, 0.1
C0 = {"merged": 0.0, "unmerged": 0.2, "compiled": 0.05, "padded": 0.3}
C1 = {"merged": 0.0, "unmerged": 2e-4, "compiled": 1e-4, "padded": 0.0}


def filled(path: Path, merged: float = 0.0) -> Journal:
    """A journal of a machine on which rounds differ by a tenth and cells by a thousandth."""
    rng = np.random.default_rng(0)
    journal = Journal(path, {"plan": dataclasses.asdict(PLAN), "machine": {"device": "cpu, a test"}})
    journal.add("limit", flops=1e11, source="a test")
    journal.add("decoded", size=str(SIZE), first=[9.0, 9.0], runs=[[1.0, DECODE]] * 3)
    for cell in PLAN.cells():
        journal.add("warm-up", cell=str(cell), seconds=[1.0, 1.0], weights=2**20, peak=2**21, reason="")
    for number in range(12):
        seconds, drift = {}, np.exp(0.1 * rng.standard_normal())
        for cell in PLAN.cells():
            base = COMPILED if cell.arm == "compiled" else BASE
            over = 1 + (C0[cell.arm] + C1[cell.arm] * cell.rank if cell.rank else 0)
            over *= 1 + merged * (cell.arm == "merged")
            own = base * over * drift * np.exp(1e-3 * rng.standard_normal())
            seconds[str(cell)] = [99.0, own]
        journal.add("round", round=number, seconds=seconds, load=1.5, cpu_mhz=None)
    for n in range(8):
        scores = {"lpips": 0.01 + 0.001 * n, "psnr": None, "clip_text": 0.0, "clip_frames": 0.0, "flicker": 0.1}
        journal.add("window", lever="merge", window=n, sha256="0", same=n == 0, exact=[9, 1.5], seconds=[9, 1.0],
                    scores=scores)  # fmt: skip
    journal.add("no lever", lever="sage", reason="no sage here")
    journal.add("looked through", backbones=["nano_lpips 1 (sha256 0)"], size=str(SIZE))
    for count, seconds in ((1, [4.0, 4.2, 4.1]), (2, [2.0, 2.05, 2.2])):
        journal.add("processes", processes=count, shared=f"ulysses={count}", seconds=seconds)
    journal.add("processes", processes=3, shared="", reason="3 does not divide 4 heads")
    return journal


def tree_of(path: Path, **changes: Any) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(json.dumps(gather(PLAN, filled(path, **changes), "cpu", {SIZE: 10**9})))
    return tree


def test_what_made_the_times_is_found_again(tmp_path: Path) -> None:
    tree = tree_of(tmp_path / "measured.jsonl")
    for line in tree["latency"]:
        c0, c1 = line["model"]["c0"], line["model"]["c1"]
        assert c0[1] - 5e-4 <= C0[line["arm"]] <= c0[2] + 5e-4
        assert c1[0] == pytest.approx(C1[line["arm"]], abs=2e-5)
        assert line["ranks"] == [4, 8, 128]
    cells = {(cell["arm"], cell["rank"]): cell for cell in tree["cells"]}
    assert cells["padded", 8]["over_base"][0] == pytest.approx(1.3, abs=2e-3)
    assert cells["compiled", 0]["over_base"][0] == pytest.approx(COMPILED / BASE, abs=2e-3), "over the eager base"
    assert cells["compiled", 8]["over_base"][0] == pytest.approx(COMPILED / BASE * 1.0508, abs=2e-3)
    seconds = cells["base", 0]["seconds"]
    assert seconds == pytest.approx(BASE, rel=0.1)
    assert cells["base", 0]["share_of_limit"] == pytest.approx(1e9 / seconds / 1e11)
    assert cells["base", 0]["videos_per_hour"] == pytest.approx(3600 / (2 * 10 * seconds + DECODE))


def test_whether_merged_is_the_base_within_noise(tmp_path: Path) -> None:
    (same,), (slower,) = (tree_of(tmp_path / f"{n}.jsonl", merged=n)["merged"] for n in (0.0, 0.02))
    assert same["holds_1"] is True
    assert slower["holds_1"] is False
    assert slower["over_base"][0] == pytest.approx(1.02, abs=2e-3)
    assert slower["control"][1] <= 1.001


def test_levers_and_processes(tmp_path: Path) -> None:
    tree = tree_of(tmp_path / "measured.jsonl")
    merge, sage = tree["levers"]
    assert merge["faster"] == pytest.approx([1.5, 1.5, 1.5])
    assert merge["scores"]["lpips"]["estimate"][0] == pytest.approx(0.0135)
    assert (merge["windows"], merge["same"], merge["scores"]["psnr"]["estimate"]) == (8, 1, None)
    assert sage == {"lever": "sage", "reason": "no sage here"}
    one, two, three = tree["processes"]
    assert (one["speedup"], two["speedup"]) == (1.0, pytest.approx(2.0))
    assert three["reason"] == "3 does not divide 4 heads"


def test_tables_and_plots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = tree_of(tmp_path / "measured.jsonl")
    show(tree, Console(width=80))
    shown, text = capsys.readouterr().out, markdown(tree)
    assert "\u2026" not in shown, "a column does not fit"
    for said in ("holds 1: merged = base within noise", "(1) no sage here", "3 processes: 3 does not divide 4 heads"):
        assert said in " ".join(shown.split())
        assert said in text
    heads = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({line.count("|") for line in heads if line.startswith("| merged |")}) == 1
    assert [path.name for path in draw(tree, tmp_path)] == ["latency.png", "levers.png", "processes.png"]
    first = (tmp_path / "latency.png").read_bytes()
    assert len(draw(tree, tmp_path)) == 3
    assert (tmp_path / "latency.png").read_bytes() == first
    with Image.open(tmp_path / "latency.png") as picture:
        assert picture.width > 3 * picture.height
