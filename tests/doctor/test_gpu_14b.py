"""The benchmark of the 14B network, carried out on the miniature."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu_14b.py"
POINT = {"frames": 33, "height": 480, "width": 832, "targets": "cross-attention", "rank": 8}


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_14b", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_runs_the_doctor_and_prints_tables(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.json"
    command = [
        sys.executable, SCRIPT, "--model", "nano", "--weights", "stored", "--shapes", "5x64x96",
        "--adapters", "cross-attention:8", "--repeats", "1", "--device", "cpu", "--out", out,
    ]  # fmt: skip
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    (point,) = json.loads(out.read_text(encoding="utf-8"))["points"]
    assert (point["model"], point["weights"], point["rank"]) == ("nano", "stored", 8)
    measured = point["doctor"]["measured"]
    row = next(line for line in run.stdout.splitlines() if line.startswith("| 5x64x96 |"))
    assert f"{measured['step']['seconds']:.3g} s" in row
    assert "== 1 of 1: 5x64x96, cross-attention, rank 8; " in run.stdout
    assert run.stdout.count("\n|---") == 2
    assert [file.name for file in out.parent.iterdir()] == ["out.json"]


def test_a_point_that_failed_says_why(script: ModuleType, tmp_path: Path) -> None:
    assert script._point({"model": "nano", "frames": 4}, tmp_path / "point.json") == 2
    error = json.loads((tmp_path / "point.json").read_text())["error"]
    assert error.startswith("frames must be 4n + 1")
    assert script.table([POINT | {"error": error}]) == f"- 33x480x832, cross-attention, rank 8: not measured: {error}"


def test_the_table(script: ModuleType) -> None:
    forward = {
        "seconds": 1.25, "tflops": 407.2, "share": 0.4115, "seconds_expected": 1.5, "tensors": 35 * 2**30,
        "tensors_expected": 36 * 2**30, "in_use": None, "in_use_expected": 1,
        "measured_over_expected": {"seconds": 0.83, "tensors": 0.97, "in_use": None},
    }  # fmt: skip
    step = forward | {
        "seconds": 4.5, "in_use": 44 * 2**30, "in_use_expected": 40 * 2**30, "seconds_expected": 4.4,
        "measured_over_expected": {"seconds": 1.023, "tensors": 0.97, "in_use": 1.1},
    }  # fmt: skip
    measured = {"device": "cuda, NVIDIA H200", "build_seconds": 7.04, "forward": forward, "step": step}
    lines = script.table([POINT | {"doctor": {"measured": measured}}]).splitlines()
    assert lines[0] == "On cuda, NVIDIA H200."
    times, peaks = (line for line in lines if line.startswith("| 33x"))
    assert times == (
        "| 33x480x832 | cross-attention, rank 8 | 7.0 s | 1.25 s | 407 | 41% | 4.5 s | 407 | 41% | 4.4 s | 1.02 |"
    )
    assert peaks.endswith("| 35 | 36 | 0.97 | 35 | 36 | 0.97 | 44 | 40 | 1.10 |")
    heads = [line for line in lines if line.startswith("| size")]
    assert [line.count("|") for line in heads] == [times.count("|"), peaks.count("|")]
