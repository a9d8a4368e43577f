"""Six shots, two of them ten seconds long, by nano from one command: repeated, killed, shared, always the same film."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest

from cinetune.files import sha256
from cinetune.generate.joins import Join
from cinetune.records import read_records
from command_line import call
from film_board import write_board

KEPT = ("shots/*", "keyframes/*", "film.mp4", "film-hevc10.mp4", "joins.jsonl", "consistency.json", "film-strip.png")
FORMATS = ("--format", "h264", "--format", "hevc10")


def hashes(film: Path) -> dict[str, str]:
    return {str(f.relative_to(film)): sha256(f) for pattern in KEPT for f in sorted(film.glob(pattern))}


def start(folder: Path, out: str, *more: str, processes: int = 1) -> subprocess.Popen[str]:
    launcher = [sys.executable, "-m"]
    if processes > 1:
        launcher += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    command = [*launcher, "cinetune", "generate", "board.toml", "--model", "nano", "--out", out, *FORMATS, *more]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.slow
def test_six_shots_repeated_and_killed_give_the_same_bytes(tmp_path: Path) -> None:
    write_board(tmp_path, long=10, short=1.5)
    done = call("generate", "board.toml", "--model", "nano", "--out", "one", *FORMATS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    whole = hashes(tmp_path / "one")
    told = json.loads((tmp_path / "one" / "film.json").read_text())
    assert [shot["frames"] for shot in told["shots"]] == [160, 24, 160, 17, 24, 24]
    with av.open(str(tmp_path / "one" / "film.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 409
    joins = read_records(tmp_path / "one" / "joins.jsonl", Join)
    assert len(joins) >= 20
    assert told["measured"]["joins"]["chance"] >= 0.05, "joins jump more often than the film does elsewhere"

    for moment in (1, 6, 14):  # windows that are there when it is killed
        process = start(tmp_path, "two")
        while process.poll() is None and _windows(tmp_path / "two") < moment:
            time.sleep(0.05)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    again = call("generate", "board.toml", "--model", "nano", "--out", "two", *FORMATS, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert hashes(tmp_path / "two") == whole


@pytest.mark.slow
def test_two_processes_make_chains_side_by_side_and_go_on_after_one_died(tmp_path: Path) -> None:
    write_board(tmp_path, long=3, short=1)
    done = call("generate", "board.toml", "--model", "nano", "--out", "one", *FORMATS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    process = start(tmp_path, "two", "--parallel", "segments=2", processes=2)
    while process.poll() is None and _windows(tmp_path / "two") < 2:
        time.sleep(0.05)
    _kill_a_worker(process.pid)
    began = time.monotonic()
    _, said = process.communicate(timeout=120)
    assert time.monotonic() - began < 30
    lines = [line for line in said.splitlines() if line.startswith("cinetune: ")]
    assert process.returncode != 0
    assert len(lines) == 1, said
    assert "finished windows are kept; run the same command again" in lines[0]
    again = start(tmp_path, "two", "--parallel", "segments=2", processes=2)
    _, said = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert hashes(tmp_path / "two") == hashes(tmp_path / "one")


def _windows(film: Path) -> int:
    """How many windows are made: those of shots in work, and nine for each of the finished shots."""
    return len(list(film.glob("windows/*/[0-9]*.mkv"))) + 9 * len(list(film.glob("shots/*.json")))


def _kill_a_worker(launcher: int) -> None:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if parent == launcher and b"generate" in command:
            os.kill(int(entry.name), signal.SIGKILL)
            return
    raise AssertionError("torchrun has no workers")
