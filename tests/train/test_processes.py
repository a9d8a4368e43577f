"""Training by several processes that torchrun really starts: the same run as one process makes, stopped and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from cinetune.adapters import lora
from cinetune.adapters.reading import read_adapter
from cinetune.models._wan import WanModel
from cinetune.train.loop import train
from tiny_run import prepare_tiny, tiny_recipe

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
TRAIN = ["-m", "cinetune", "train", "--device", "cpu"]


def rows(run: Path, name: str) -> list[dict[str, object]]:
    path = run / "train" / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def begin(run: Path, *changes: str) -> subprocess.Popen[str]:
    told = [part for change in changes for part in ("--set", change)]
    return subprocess.Popen([*TORCHRUN, *TRAIN, str(run), *told], stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="torchrun and SIGTERM are things of POSIX")
@pytest.mark.filterwarnings("ignore")  # torch.distributed.run warns of its own
def test_two_processes_stopped_and_gone_on_with_by_one_are_one_run(tiny: WanModel, tmp_path: Path) -> None:
    """SIGTERM to fsdp2 on two processes; ddp on two goes on, is stopped too, and one process does the rest."""
    recipe = tiny_recipe(tiny, train__steps="60", validation__every="20", train__save_every="1000")
    whole, run = (prepare_tiny(tmp_path / name, tiny, recipe) for name in ("whole", "run"))
    train(whole, recipe, tiny, device=torch.device("cpu"))
    done = 0
    for engine in ("fsdp2", "ddp"):
        process = begin(run, f"system.engine={engine}")
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and process.poll() is None and len(rows(run, "log.jsonl")) < done + 5:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait() != 0
        assert "SIGTERM; saving after this step" in said
        assert said.count("trainable weights") == 1, "one process speaks"
        assert f"engine {engine}, 2 processes" in said
        done = len(rows(run, "log.jsonl"))
        state = torch.load(run / "train" / "checkpoint.pt", weights_only=True)
        assert state["progress"]["step"] == done < 60, "every step that was logged is in the checkpoint"
    train(run, recipe, tiny, device=torch.device("cpu"))

    ours, theirs = rows(run, "log.jsonl"), rows(whole, "log.jsonl")
    assert [row["sigma"] for row in ours] == [row["sigma"] for row in theirs], "the same clips at the same noise"
    assert [row["loss"] for row in ours] == pytest.approx([row["loss"] for row in theirs], rel=1e-4)
    for a, b in zip(rows(run, "validations.jsonl"), rows(whole, "validations.jsonl"), strict=True):
        assert a["values"] == pytest.approx(b["values"], rel=1e-3)
        assert a["losses"] == pytest.approx(b["losses"], rel=1e-4)
    trained = [read_adapter(f / "train" / "best" / lora.FILE_NAME).layers for f in (run, whole)]
    for name, layer in trained[1].items():
        assert (trained[0][name].b - layer.b).norm() <= 2e-3 * layer.b.norm()
    assert json.loads((run / "train" / "summary.json").read_text())["steps"] == 60
    assert not list(run.rglob(".aside-*"))


@pytest.mark.parametrize(
    ("environment", "changes", "why"),
    [
        ({"WORLD_SIZE": "3", "RANK": "0", "LOCAL_RANK": "0"}, [], "MASTER_ADDR"),
        ({}, ["system.context_parallel=2"], "does not divide the number of processes, 1"),
        ({}, ["train.steps=3"], r"only system.* can change"),
    ],
)
def test_what_cannot_be_shared_is_one_line(
    tiny: WanModel, tmp_path: Path, environment: dict[str, str], changes: list[str], why: str
) -> None:
    run = prepare_tiny(tmp_path / "run", tiny, tiny_recipe(tiny))
    told = [part for change in changes for part in ("--set", change)]
    done = subprocess.run(
        [sys.executable, *TRAIN, str(run), *told], capture_output=True, text=True, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 2
    assert why in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
