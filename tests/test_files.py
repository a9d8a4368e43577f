"""A file or folder is the whole old one or the whole new one, whenever its writer is killed."""

import errno
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cinetune.errors import RunError
from cinetune.files import folder_aside, sha256, sweep, write_aside, write_text

OLD, NEW = "old" * 1000, "new" * 1000
PREAMBLE = """
import itertools, pathlib, sys, time
from cinetune.files import folder_aside, write_aside

path, NEW = pathlib.Path(sys.argv[1]), sys.argv[2]

def here():
    print("here", flush=True)
    time.sleep(60)
"""

Writer = Callable[[Path], AbstractContextManager[Path]]


def start(code: str, path: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PREAMBLE + code, str(path), NEW]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def killed_in(code: str, path: Path) -> None:
    """Run `code` in a process of its own until it calls `here()`, then kill it (SIGKILL on POSIX)."""
    with start(code, path) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "here\n"
        writer.kill()


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def full_folder(path: Path) -> Path:
    path.mkdir()
    for name in ("a", "b"):
        (path / name).write_text(OLD)
    return path


def test_write(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "x.json"
    write_text(path, "one\ntwo\n")
    write_text(path, "Zoë\n")
    assert path.read_bytes() == "Zoë\n".encode()
    assert list(path.parent.iterdir()) == [path]
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert path.stat().st_mode == ordinary.stat().st_mode


def test_the_path_aside_keeps_the_suffix(tmp_path: Path) -> None:
    """Writers such as PyAV choose the container by it."""
    with write_aside(tmp_path / "film.mkv") as aside:
        assert (aside.suffix, aside.parent) == (".mkv", tmp_path)


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text(OLD)
    with pytest.raises(ZeroDivisionError), write_aside(path) as aside:
        _ = aside.write_text(NEW) / 0
    assert contents(tmp_path) == {"x": OLD}


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text(OLD)
    killed_in("with write_aside(path) as aside:\n    aside.write_text(NEW)\n    here()", path)
    assert path.read_text() == OLD
    sweep(tmp_path)
    assert contents(tmp_path) == {"x": OLD}


def test_an_error_leaves_the_old_folder(tmp_path: Path) -> None:
    path = full_folder(tmp_path / "x")
    with pytest.raises(ZeroDivisionError), folder_aside(path) as aside:
        _ = (aside / "a").write_text(NEW) / 0
    assert list(tmp_path.iterdir()) == [path]
    assert contents(path) == {"a": OLD, "b": OLD}


def test_a_new_folder_replaces_the_old_one(tmp_path: Path) -> None:
    path = full_folder(tmp_path / "x")
    with folder_aside(path) as aside:
        (aside / "c").write_text(NEW)
    assert list(tmp_path.iterdir()) == [path]
    assert contents(path) == {"c": NEW}
    ordinary = tmp_path / "ordinary"
    ordinary.mkdir()
    assert path.stat().st_mode == ordinary.stat().st_mode


def test_a_killed_writer_leaves_the_old_folder(tmp_path: Path) -> None:
    path = full_folder(tmp_path / "x")
    killed_in("with folder_aside(path) as aside:\n    (aside / 'a').write_text(NEW)\n    here()", path)
    assert contents(path) == {"a": OLD, "b": OLD}
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


KILLED_BETWEEN_RENAMES = """
rename = pathlib.Path.replace

def rename_and_wait(self, target):
    rename(self, target)
    here()

with folder_aside(path) as aside:
    (aside / "a").write_text(NEW)
    pathlib.Path.replace = rename_and_wait
"""


@pytest.mark.parametrize("next_is", ["a writer", "sweep"])
def test_a_writer_killed_between_the_two_renames(tmp_path: Path, next_is: str) -> None:
    """The one moment without a folder: the next writer puts the old one back, even if it fails itself."""
    path = full_folder(tmp_path / "x")
    killed_in(KILLED_BETWEEN_RENAMES, path)
    assert not path.exists()
    if next_is == "a writer":
        with pytest.raises(ZeroDivisionError), folder_aside(path):
            _ = 1 / 0
        assert contents(path) == {"a": OLD, "b": OLD}
    sweep(tmp_path)
    assert contents(path) == {"a": OLD, "b": OLD}
    assert list(tmp_path.iterdir()) == [path]


WRITE_FOR_EVER = """
print("writing", flush=True)
for n in itertools.count():
    with write_aside(path / "file") as aside:
        aside.write_text(f"{n:09}" * 5000)
    with folder_aside(path / "folder") as aside:
        for name in "ab":
            (aside / name).write_text(str(n))
"""


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path: Path) -> None:
    """Forty kills of a process that writes a file and a folder over and over, at forty random moments."""
    chance = random.Random(0)
    for _ in range(40):
        with start(WRITE_FOR_EVER, tmp_path) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(0.1 + 0.02 * chance.random())
            writer.kill()
        text = (tmp_path / "file").read_text()
        assert text == text[:9] * 5000
        if (tmp_path / "folder").exists():  # else it was killed between the two renames
            pair = contents(tmp_path / "folder")
            assert set(pair) == {"a", "b"}
            assert pair["a"] == pair["b"]
    sweep(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"file", "folder"}


@pytest.mark.parametrize("writer", [write_aside, folder_aside])
def test_unwritable(tmp_path: Path, writer: Writer) -> None:
    (tmp_path / "file").touch()
    says = r"cannot write here \(.+\); choose another folder"
    with pytest.raises(RunError, match=says), writer(tmp_path / "file" / "x"):
        pass


@pytest.mark.parametrize("writer", [write_aside, folder_aside])
def test_full_disk(tmp_path: Path, writer: Writer) -> None:
    with pytest.raises(RunError, match="the disk is full"), writer(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(FileNotFoundError), writer(tmp_path / "x"):
        (tmp_path / "no such").read_text()
    assert list(tmp_path.iterdir()) == []


def test_sha256(tmp_path: Path) -> None:
    """Source: FIPS 180-2, appendix B.1."""
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
