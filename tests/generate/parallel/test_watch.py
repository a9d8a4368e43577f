"""A process that stops ends the others within 30 seconds, with one line and an exit code."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import generate_endings

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked, which this system cannot do")
SOON = 30.0
"""Seconds."""
KEPT = "; finished windows are kept; run the same command again"
SAID = {
    "kill": f"process 1 of 4 on {socket.gethostname()} stopped{KEPT}",
    "keeper": f"process 0 of 4 on {socket.gethostname()} stopped{KEPT}",
    "silent": f"process 1 of 4 on {socket.gethostname()} stopped{KEPT}",
    "keeper silent": f"process 0 of 4 on {socket.gethostname()} stopped{KEPT}",
    "terminated": f"process 1 of 4 on {socket.gethostname()} stopped (SIGTERM){KEPT}",
    "bug": f"process 1 of 4 on {socket.gethostname()} stopped (ZeroDivisionError){KEPT}",
    "error": "shot 3: there is no such picture; give another",
}
KILLED = -signal.SIGKILL
CODES = {
    "kill": [2, KILLED, 2, 2], "keeper": [KILLED, 2, 2, 2], "silent": [2, KILLED, 2, 2],
    "keeper silent": [KILLED, 2, 2, 2], "terminated": [2, 128 + signal.SIGTERM, 2, 2], "bug": [2, 1, 2, 2],
    "error": [2, 2, 2, 2],
}  # fmt: skip


def play(folder: Path, cases: list[str]) -> dict[str, Any]:
    """Exit codes and seconds of each case."""
    command = [sys.executable, generate_endings.__file__, str(folder), *cases]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads((folder / "endings.json").read_text())
    return found


def check(folder: Path, cases: list[str]) -> None:
    for case, found in play(folder, cases).items():
        lines = (folder / f"{case}.txt").read_text().splitlines()
        assert [line for line in lines if line.startswith("cinetune")] == [f"cinetune: {SAID[case]}"], case
        if case != "bug":  # which leaves its traceback, of one process
            assert len(lines) == 1
        assert sum(line.startswith("Traceback") for line in lines) == (case == "bug")
        assert found["codes"] == CODES[case]
        assert found["seconds"] < SOON


def test_a_killed_process_and_one_with_an_error_end_all(tmp_path: Path) -> None:
    """The others wait in a collective, for the one that stopped and for one that computes, or compute."""
    check(tmp_path, ["kill", "error"])


@pytest.mark.slow
def test_however_a_process_stops(tmp_path: Path) -> None:
    """Asleep, by a signal, by a bug, and the one that keeps the store, killed and asleep."""
    check(tmp_path, ["keeper", "silent", "keeper silent", "terminated", "bug"])


@pytest.mark.slow
def test_under_torchrun_the_line_is_there_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4"]
    done = subprocess.run(
        [*command, generate_endings.__file__, str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1  # torchrun's own
    lines = [line for line in done.stderr.splitlines() if line.startswith("cinetune")]
    assert lines == [f"cinetune: {SAID['kill']}"]
