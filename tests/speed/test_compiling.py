"""The block compiled: the same loss and gradients, and one line where it cannot be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cinetune.errors import RunError
from cinetune.models._wan import WanModel
from cinetune.speed import compiling
from cinetune.speed.compiling import compile_blocks, what_is_missing
from tiny_step import CPU, adapted


@pytest.mark.slow
@pytest.mark.skipif(bool(what_is_missing(CPU)), reason="no C++ compiler here")
@pytest.mark.parametrize("how", ["kept", "checkpointed", "int8"])
def test_the_same_numbers(tiny: WanModel, how: str, tmp_path: Path) -> None:
    """In a process of its own: what the compiler traces through is not to be wrapped in checks of signatures."""
    script = Path(__file__).parents[1] / "compiled_step.py"
    own = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(script.parent), *sys.path])}
    done = subprocess.run(
        [sys.executable, str(script), tiny.source, how],
        capture_output=True,
        text=True,
        env=os.environ | own,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    graphs, loss, gradients = map(float, done.stdout.split()[-3:])
    print(f"{how}: {graphs:.0f} graphs, loss {loss:.1e} and gradients {gradients:.1e} apart")
    assert graphs >= 1
    assert loss <= 1e-5
    assert gradients <= 1e-5


def test_without_a_compiler_it_is_one_line(tiny: WanModel, monkeypatch: pytest.MonkeyPatch) -> None:
    network = adapted(tiny)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(RunError, match=r"no C\+\+ compiler .* is on the path; install it, or leave compile out"):
        compile_blocks(network, CPU)


def test_on_a_gpu_it_takes_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling.importlib.util, "find_spec", lambda name: None)
    assert what_is_missing(torch.device("cuda")) == "the package triton is missing"
