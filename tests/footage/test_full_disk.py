"""Films and frames on a disk that fills up, and writers that are killed: one line, and nothing that looks finished."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cinetune.files import sweep
from cinetune.footage.deep_video import load_deep, write_deep
from cinetune.footage.film_video import write_film
from cinetune.footage.frame_files import write_frames

WRITERS = """
import sys
from pathlib import Path
import numpy as np
from cinetune.footage.deep_video import write_deep
from cinetune.footage.film_video import write_film
from cinetune.footage.frame_files import write_frames

folder = Path(sys.argv[1])
chance = np.random.default_rng(0)

def frames():
    for k in range(12):
        if k == 7:
            interrupt()
        yield chance.integers(0, 65536, (128, 192, 3), np.uint16)

writers = {
    "a.mkv": lambda path: write_deep(path, frames(), 24),
    "a.mp4": lambda path: write_film(path, frames(), 24, kind="h264"),
    "b.mp4": lambda path: write_film(path, frames(), 24, kind="hevc10"),
    "a.mov": lambda path: write_film(path, frames(), 24, kind="prores"),
    "png": lambda path: write_frames(path, frames(), "png16"),
    "exr": lambda path: write_frames(path, frames(), "exr"),
}
"""
FILL = """
from cinetune.errors import RunError

interrupt = lambda: None
for name, write in writers.items():
    try:
        write(folder / name)
    except RunError as error:
        print(error, [left.name for left in folder.iterdir()])
"""
WAIT = """
import time

waiting = ["png", "a.mp4", "a.mkv"]

def interrupt():
    if waiting:
        name = waiting.pop()
        writers[name](folder / name)
    print("here", flush=True)
    time.sleep(60)

interrupt()
"""


def mounting() -> bool:
    """Whether this machine lets a process have a small file system of its own."""
    if not shutil.which("unshare"):
        return False
    return subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True).returncode == 0


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    """On a real file system of 64 KiB, each film is larger."""
    if not mounting():
        pytest.skip("a file system of its own needs unshare and mount")
    mount = f'mount -t tmpfs -o size=64k x "{tmp_path}" && exec "$@"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, "sh", sys.executable, "-c", WRITERS + FILL, str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    names = ["a.mkv", "a.mp4", "b.mp4", "a.mov", "png", "exr"]
    says = "the disk is full; free some space and run this again"
    assert done.stdout.splitlines() == [f"{tmp_path / name}: {says} []" for name in names]


def test_killed_writers_leave_the_old_films(tmp_path: Path) -> None:
    """Three in one process, each begun amid the frames of the one before."""
    frames = np.full((2, 128, 192, 3), 999, np.uint16)
    write_deep(tmp_path / "a.mkv", frames, 24)
    write_film(tmp_path / "a.mp4", frames, 24, kind="h264")
    write_frames(tmp_path / "png", frames, "png16")
    old = contents(tmp_path)
    command = [sys.executable, "-c", WRITERS + WAIT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "here\n"
        writer.kill()
    assert len(list(tmp_path.iterdir())) == 6
    sweep(tmp_path)
    assert contents(tmp_path) == old
    assert np.array_equal(load_deep(tmp_path / "a.mkv"), frames)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
