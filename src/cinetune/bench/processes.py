"""How much faster a window is when processes share it: `torchrun` is started for each number of them."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from cinetune import console
from cinetune.bench.journal import Journal
from cinetune.bench.plan import Plan

PATIENCE_S = 3600.0
REPEATS = 3
"""Timed windows, after one that is not timed."""
WORKER = "cinetune.bench.worker"


def run_processes(plan: Plan, journal: Journal, device: torch.device) -> None:
    """Time one window with every number of processes that is still missing, and write it down."""
    done = {line["processes"] for line in journal.of("processes")}
    for number in sorted({1, *plan.processes} if plan.processes else ()):
        if number not in done:
            console.note(f"bench: one window shared by {number} process{'es' * (number > 1)}")
            journal.add("processes", processes=number, **_run(plan, number, device))


def _run(plan: Plan, number: int, device: torch.device) -> dict[str, object]:
    """Seconds of each window by the wall clock and how it was shared, or the reason why there are none."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "seconds.json"
        asked = {"model": plan.model, "size": plan.sizes[-1], "steps": plan.steps, "guidance": plan.guidance,
                 "shift": plan.shift, "precision": plan.precision, "repeats": REPEATS, "seed": plan.seed,
                 "device": device.type}  # fmt: skip
        command = [
            sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={number}",
            "-m", WORKER, json.dumps(asked), str(out),
        ]  # fmt: skip
        threads = {"OMP_NUM_THREADS": "1"} if device.type == "cpu" else {}
        try:
            ended = subprocess.run(
                command, env=os.environ | threads, capture_output=True, text=True, timeout=PATIENCE_S, check=False
            )
        except subprocess.TimeoutExpired:
            return {"shared": "", "reason": f"not done after {PATIENCE_S:.0f} s"}
        if out.is_file():
            answer: dict[str, object] = json.loads(out.read_text(encoding="utf-8"))
            return answer
        lines = [line for line in ended.stderr.splitlines() if line.startswith("cinetune: ")]
        why = lines[0].removeprefix("cinetune: ") if lines else f"the processes ended with code {ended.returncode}"
        return {"shared": "", "reason": why}
