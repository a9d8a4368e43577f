"""The script that compares `cinetune evaluate` with the usual tools really runs, and notices numbers that differ."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cinetune.errors import FootageError
from cinetune.footage.procedural import render_clip
from cinetune.footage.video_io import write_video

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SMALL = ["--clips", "4", "--frames", "5", "--sizes", "64x48"]
LIGHT = [*SMALL, "--only", "lpips,flicker"]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    yield importlib.import_module("evaluate")
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if Path(file).parent == BENCHMARKS or name.partition(".")[0] == "lpips":
            del sys.modules[name]


def rows(text: str) -> dict[str, list[str]]:
    """Cells of every row of every table, by the row's first cell and, for timings, its second."""
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    return {row[1] if row[1].startswith("cinetune, ") else row[0]: row[1:] for row in cells}


def test_the_plain_rewritings_agree_with_cinetune(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(LIGHT) == 0
    text = capsys.readouterr().out
    found = rows(text)
    assert "stand-in, not the tool" in found["LPIPS"][0]
    assert "4 + 4 clips of 5 frames, 64x48, rendered" in text
    wall = {name: float(found[name][1]) for name in ("cinetune, cold", "cinetune, warm", "everything")}
    faster = float(found["cinetune, cold"][4])
    assert faster == pytest.approx(wall["everything"] / wall["cinetune, cold"], abs=0.01 + 0.02 * faster)
    assert float(found["cinetune, cold"][3]) > 0
    assert float(found["cinetune, warm"][3]) == 0, "the second time nothing is decoded"
    assert [found[name][3] for name in ("lpips", "flicker, generated", "flicker, real")] == ["agrees to 0.0001"] * 3


def test_shares_are_of_the_whole(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    script.main([*LIGHT, "--threads", "1"])
    found = rows(capsys.readouterr().out)
    parts = ("decode", "backbones", "statistics", "hashing", "loading weights, writing results")
    assert sum(int(found[part][1].removesuffix("%")) for part in parts) == pytest.approx(100, abs=3)


def test_footage_is_cut_into_clips(script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = render_clip("day", seed=0, frames=16, height=64, width=96)
    write_video(tmp_path / "film.mp4", clip.frames, 16)
    arguments = ["--only", "flicker", "--frames", "4", "--sizes", "64x48", "--footage", str(tmp_path), "--clips"]
    assert script.main([*arguments, "2"]) == 0
    assert re.search(r"2 \+ 2 clips of 4 frames, 64x48, cut from films", capsys.readouterr().out)
    with pytest.raises(FootageError, match="too short for 2 x 3 windows of 4 frames"):
        script.main([*arguments, "3"])


def test_a_tool_that_says_something_else_is_noticed(
    script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "PerceptualSimilarity" / "lpips"
    package.mkdir(parents=True)
    (package / "pretrained_networks.py").write_text("from torchvision import models as tv\n")
    (package / "__init__.py").write_text(
        "import torch\n"
        "from lpips import pretrained_networks\n"
        "class LPIPS:\n"
        "    def __init__(self, net, model_path, verbose):\n"
        "        self.layers = pretrained_networks.tv.alexnet(pretrained=True).features\n"
        "    def __call__(self, a, b):\n"
        "        return torch.tensor(float(len(self.layers)))\n"
    )
    there = sys.modules.get("torchvision")
    assert script.main([*SMALL, "--only", "lpips", "--tools", str(tmp_path)]) == 1
    assert sys.modules.get("torchvision") is there
    found = rows(capsys.readouterr().out)
    assert found["LPIPS"][0].startswith("PerceptualSimilarity (no commit)")
    assert found["lpips"][1:4] == ["12", found["lpips"][2], "DIFFERS by more than 0.0001"]


@pytest.mark.slow
def test_every_task(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--clips", "4", "--frames", "10", "--sizes", "64x48"]) == 0
    found = rows(capsys.readouterr().out)
    assert found["fvd"][3] == found["fid"][3] == "agrees to 0.001"
    assert found["clip_text, real"][3] == found["clip_frames, generated"][3] == "agrees to 0.0001"
    assert "not independent" in found["kid"][3]
