"""Checkpoints: whole or absent, the one before kept, and refused where they belong to something else."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cinetune.errors import RunError
from cinetune.train import checkpoint
from cinetune.train.checkpoint import BEFORE, NAME, Checkpoint, Progress
from cinetune.train.engines._contract import State

MINE = {"recipe": "abc", "clips": "def"}


def made(step: int) -> Checkpoint:
    weights = {"a": torch.full((3, 2), float(step)), "b": torch.arange(4.0) + step}
    optimiser = {name: {"step": torch.tensor(float(step)), "exp_avg": w * 2} for name, w in weights.items()}
    return Checkpoint(
        Progress(step, 1.5 * step), State(weights, optimiser), MINE, {"best": 0.5, "clips": [0.1, 0.2]},
        {"base": {"lpips": 0.3}}, {"a": weights["a"] / 2},
    )  # fmt: skip


def same(a: Checkpoint, b: Checkpoint) -> bool:
    return (
        a.progress == b.progress
        and all(a.state.weights[n].equal(b.state.weights[n]) for n in "ab")
        and all(a.state.optimiser[n][k].equal(b.state.optimiser[n][k]) for n in "ab" for k in ("step", "exp_avg"))
        and (a.belongs, a.stopper, a.baselines) == (b.belongs, b.stopper, b.baselines)
        and a.ema["a"].equal(b.ema["a"])
    )


def test_what_is_saved_comes_back_and_the_one_before_is_kept(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path, MINE) is None
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, made(step))
        found = checkpoint.load(tmp_path, MINE)
        assert found is not None
        assert same(found, made(step))
    assert sorted(f.name for f in tmp_path.iterdir()) == [BEFORE, NAME]
    (tmp_path / NAME).unlink()
    found = checkpoint.load(tmp_path, MINE)
    assert found is not None
    assert same(found, made(2))


@pytest.mark.parametrize("damage", [b"", b"half a file"])
def test_a_damaged_newest_falls_back_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: bytes
) -> None:
    for step in (1, 2):
        checkpoint.save(tmp_path, made(step))
    whole = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(damage or whole[: len(whole) // 2])
    found = checkpoint.load(tmp_path, MINE)
    assert found is not None
    assert same(found, made(1))
    assert "damaged checkpoint" in (said := capsys.readouterr().err)
    assert "going on from the one before it, step 1" in said
    (tmp_path / BEFORE).write_bytes(b"too")
    with pytest.raises(RunError, match=r"damaged checkpoint.*; delete it to train from the start"):
        checkpoint.load(tmp_path, MINE)


@pytest.mark.parametrize("what", ["recipe", "clips"])
def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path, what: str) -> None:
    checkpoint.save(tmp_path, made(1))
    with pytest.raises(RunError, match=f"made with {what} {MINE[what]}, this is {what} other; put back"):
        checkpoint.load(tmp_path, {**MINE, what: "other"})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full to act as a full disk")
def test_a_full_disk_is_one_line_and_keeps_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real error of a real full device, where the file that is written aside lies."""
    checkpoint.save(tmp_path, made(1))
    opened = Path.open

    def full(self: Path, mode: str = "r", *rest: object, **named: object) -> object:
        target = Path("/dev/full") if mode == "wb" and self.parent == tmp_path else self
        return opened(target, mode, *rest, **named)  # type: ignore[call-overload]

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full)
        with pytest.raises(RunError, match=r"checkpoint\.pt: the disk is full; free some space"):
            checkpoint.save(tmp_path, made(2))
    found = checkpoint.load(tmp_path, MINE)
    assert found is not None
    assert same(found, made(1))
    assert [f.name for f in tmp_path.iterdir()] == [NAME]


KILLER = """
import os, random, signal, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from train.test_checkpoint import MINE, made, same
from cinetune.train import checkpoint

folder, chance, step = Path(sys.argv[1]), random.Random(0), 0
for round in range(20):
    reading, writing = os.pipe()
    writer = os.fork()
    if not writer:
        while True:
            step += 1
            checkpoint.save(folder, made(step))
            os.write(writing, b"%d\\n" % step)
    os.close(writing)
    head = os.read(reading, 64) if round % 2 else b""  # every other time it has surely written, however slow it is
    time.sleep(chance.uniform(0.002, 0.05))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    told = (head + os.fdopen(reading, "rb").read()).split()
    step = int(told[-1]) if told else step
    found = checkpoint.load(folder, MINE)
    assert found is not None and found.progress.step >= step and same(found, made(found.progress.step)), step
    step = found.progress.step
print(step)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a thing of POSIX")
def test_killed_at_20_random_moments_of_writing_never_loses_the_one_before(tmp_path: Path) -> None:
    """Processes that do nothing but write checkpoints; each time the last that was told of is there, or a later one."""
    script = KILLER.format(tests=str(Path(__file__).parents[1]))
    checkpoint.save(tmp_path, made(0))
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 10, "it wrote between the kills"
