"""The benchmark of the 14B network's forward pass, carried out on the miniature."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu_generate.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("gpu_generate", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_it_measures_forward_decoding_and_ranks(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.json"
    command = [
        sys.executable, SCRIPT, "--model", "nano", "--shapes", "5x32x48", "--rank-shapes", "5x32x48",
        "--ranks", "0,4,8", "--arms", "merged,unmerged", "--rounds", "2", "--repeats", "1",
        "--device", "cpu", "--out", out,
    ]  # fmt: skip
    own = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    run = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=500, check=False, env=os.environ | own
    )
    tree = json.loads(out.read_text(encoding="utf-8"))
    forward, decode, ranks = tree["points"]
    rows = {row["name"]: row for row in forward["rows"]}
    assert rows["plain"]["apart"] == 0
    assert rows["compile"]["apart"] < 3e-2
    assert 0 < rows["fp8 weights"]["apart"] < 0.2
    assert "error" in rows["attention _flash_3"]
    assert run.returncode == 0, run.stderr
    assert [row["name"] for row in decode["rows"]] == ["fp32", "bf16"]
    assert 0 < decode["rows"][1]["apart"] < 0.2
    assert {cell["arm"] for cell in ranks["bench"]["cells"]} == {"base", "control", "merged", "unmerged"}
    for said in ("| 5x32x48 | plain | ", "| 5x32x48 | attention _flash_3 | not measured: ", "## one block at 5x32x48"):
        assert said in run.stdout


def test_the_tables(script: ModuleType) -> None:
    row = {"name": "plain", "seconds": 2.5, "tflops": 675.0, "share": 0.682, "peak": 40 * 2**30, "apart": 0.0}
    at: dict[str, Any] = {"shape": "81x480x832", "model": "wan2.1-i2v-14b-480p", "machine": "cuda, NVIDIA H200"}
    points = [
        at | {"kind": "forward", "rows": [row, {"name": "attention flash", "error": "not here"}], "expected": 5.17,
              "expected_share": 0.33},
        at | {"kind": "decode", "rows": [row | {"name": "fp32"}], "error": "the time was used up"},
        {"kind": "ranks", "rows": [], "error": "the process ended with code 1"},
    ]  # fmt: skip
    lines = script.table(points).splitlines()
    assert lines[0] == "On cuda, NVIDIA H200."
    assert "| 81x480x832 | plain | 2.5 | 675 | 68% | 40 | 0.0e+00 |" in lines
    assert "| 81x480x832 | attention flash | not measured: not here | | | | |" in lines
    assert "| 81x480x832 | doctor expects (33% of peak) | 5.17 | | | | |" in lines
    assert any("LightX2V, H100" in line and "| 2.59 |" in line for line in lines)
    assert "| 81x480x832 | the rest | not measured: the time was used up | | | |" in lines
    assert lines[-1] == "Rank table: not measured: the process ended with code 1"
    columns = {line.count("|") for line in lines if line.startswith("| 81x480x832 | ") and "fp32" not in line}
    assert columns <= {7, 8}
