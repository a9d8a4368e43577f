"""Two processes that would leave out blocks at different steps: they decide together, or need not."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from cache_ranks import WEIGHTS
from cinetune.models._wan import WanModel
from lever_studio import apart, studio, window, work

CLOSE = 1e-5


Found = dict[str, list[dict[str, Any]]]


def run(tiny: WanModel, folder: Path, how: str) -> tuple[int, str, Found]:
    script = Path(__file__).parents[2] / "cache_ranks.py"
    words = [sys.executable, str(script), tiny.source, str(folder), how]
    done = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)
    found = {each: [torch.load(file) for file in sorted(folder.glob(f"{each}-*.pt"))] for each in how.split("+")}
    return done.returncode, done.stderr, found


@pytest.fixture(scope="module")
def found(tiny: WanModel, tmp_path_factory: pytest.TempPathFactory) -> Found:
    code, said, made = run(tiny, tmp_path_factory.mktemp("ranks"), "tokens+weights")
    assert code == 0, said
    return made


def test_processes_that_share_tokens_decide_together(tiny: WanModel, found: Found) -> None:
    one, two = found["tokens"]
    threshold, steps = one["threshold"], zip(one["alone"], two["alone"], strict=True)
    torn = [n for n, (a, b) in enumerate(steps, start=1) if (a < threshold) != (b < threshold)]
    print(f"threshold {threshold:.4f}: alone they would have disagreed at steps {torn}")
    assert torn, "a disagreement was forced"
    assert one["together"] == two["together"]
    assert torch.equal(one["latents"], two["latents"])
    alone = studio(tiny, f"first_block={threshold}")
    assert apart(one["latents"], alone.latents(window())) <= CLOSE
    assert work(alone)["blocks"] < work(studio(tiny))["blocks"]


def test_processes_that_share_weights_need_not(tiny: WanModel, found: Found) -> None:
    for rank, one in enumerate(found["weights"]):
        alone = studio(tiny, f"first_block={WEIGHTS[rank]}")
        assert apart(one["latents"], alone.latents(window(seed=rank + 1))) <= CLOSE
        assert one["blocks"] == work(alone, window(seed=rank + 1))["blocks"]
    some, every = (one["blocks"] for one in found["weights"])
    assert some < every, "a disagreement was forced"


@pytest.mark.slow
def test_without_a_vote_they_wait_for_each_other(tiny: WanModel, tmp_path: Path) -> None:
    """So that the test above can fail: gloo gives up after ten seconds, or answers one pass with another's numbers."""
    code, said, made = run(tiny, tmp_path, "silent")
    assert code != 0 or apart(made["silent"][0]["latents"], made["silent"][1]["latents"]) > CLOSE, said
