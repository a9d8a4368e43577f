"""The scripts that measure training really run, and their tables hold what they measured."""

import importlib
import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    for name in ("train", "_bare_loop"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("train")


def test_ratios_are_of_the_same_turn(script: Any) -> None:
    """ln of 1.1 and 1.21: mean 0.14297, deviation 0.0674, t(0.975, 1) = 12.706."""
    assert script._ratio([1.1, 2.42], [1.0, 2.0]) == "1.154 [0.630, 2.114], n = 2"
    asked = Namespace(frames=17, rank=8, batch=4, accumulation=1, turns=2, steps=6)
    times = {"cinetune": [1.1, 2.42], "bare, short text": [1.0, 2.0]}
    text = script.table(times, asked, {"cinetune": [0.001, 0.003]})
    assert "| cinetune | 1.76 | 1.154 [0.630, 2.114], n = 2 | 0.20% |" in text
    assert "| bare, short text | 1.5 | 1 | - |" in text


@pytest.mark.slow
def test_the_loop_beside_a_bare_one(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    small = "--turns 1 --steps 1 --clips 2 --batch 1 --frames 5"
    assert script.main(small.split()) == 0
    text = capsys.readouterr().out
    rows = {line.split("|")[1].strip(): line.split("|")[2:] for line in text.splitlines() if line.startswith("| ")}
    assert set(rows) >= {"cinetune", "bare, text padded to 512", "bare, short text"}
    assert all(float(rows[name][0]) > 0 for name in rows if name)


@pytest.mark.slow
def test_the_ladder_of_levers(tmp_path: Path) -> None:
    """On nano; the GPU's own is the same with another model and size."""
    out = tmp_path / "ladder.json"
    levers = "baseline,attention,selective checkpointing,fp8 storage,fp8 matmul,made up"
    command = [
        sys.executable, str(BENCHMARKS / "gpu_train.py"), "--model", "nano", "--shapes", "5x64x96", "--device", "cpu",
        "--adapters", "cross-attention:8", "--levers", levers, "--repeats", "1", "--out", str(out),
        "--tool", "another=3.6@33x480x832",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (point,) = json.loads(out.read_text(encoding="utf-8"))["points"]
    rows = {row["lever"]: row for row in point["rows"]}
    assert rows["attention"]["apart"] == rows["selective checkpointing"]["apart"] == 0
    assert 0 < rows["fp8 storage"]["apart"] < 0.02
    assert rows["selective checkpointing"]["kept"] == 2
    assert "error" in rows["made up"]
    assert "not measured" in done.stdout
    assert "another, by its own log | 3.6" in done.stdout
