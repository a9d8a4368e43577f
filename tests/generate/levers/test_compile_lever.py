"""The compiled block: the same numbers to rounding, below caches and beside adapters, one graph for all blocks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cinetune.errors import RecipeError
from cinetune.models._wan import WanModel
from cinetune.speed.compiling import what_is_missing
from lever_studio import CPU, adapter, studio

CLOSE = 1e-5


@pytest.mark.slow
@pytest.mark.skipif(bool(what_is_missing(CPU)), reason="no C++ compiler here")
@pytest.mark.parametrize("levers", [(), ("first_block=0.1",), ("merge", "fuse_qkv")], ids=" ".join)
def test_the_same_numbers(tiny: WanModel, tmp_path: Path, levers: tuple[str, ...]) -> None:
    script = Path(__file__).parents[2] / "compiled_window.py"
    style = adapter(tiny, tmp_path / "style.safetensors")
    own = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(script.parent), *sys.path])}
    done = subprocess.run(
        [sys.executable, str(script), tiny.source, str(style), *levers],
        capture_output=True, text=True, env=os.environ | own, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    graphs, off, later = map(float, done.stdout.split()[-3:])
    print(f"{levers}: {graphs:.0f} graphs, {off:.1e} apart")
    assert 1 <= graphs <= 2, "one for all blocks; another where a prompt is longer"
    assert off <= CLOSE
    assert later == 0


def test_without_a_compiler_it_is_one_line(tiny: WanModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(RecipeError, match=r"--lever compile: no C\+\+ compiler .* is on the path; install it"):
        studio(tiny, "compile")
    assert torch.is_tensor(next(studio(tiny, speed="balanced").rig.network.parameters()))
