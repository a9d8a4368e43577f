"""Files that are whole or absent: write aside, flush, rename."""

import errno
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cinetune.errors import RunError

ASIDE, OLD = ".aside-", ".old-"
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same suffix); on success rename it, on any error remove it.

    Raises:
        RunError: the folder cannot be written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{ASIDE}{path.stem}-", suffix=path.suffix)
        os.close(handle)
    except OSError as error:
        raise _unwritable(path, error) from None
    aside = Path(name)
    try:
        yield aside
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.chmod(0o666 & ~_umask())  # mkstemp makes private files; a run folder is for sharing
        aside.replace(path)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise _unwritable(path, error) from None
        raise
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def folder_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it replaces `path`, on any error it is removed.

    A folder cannot be renamed over a full one, so the old one is renamed first. A process killed between the
    two renames leaves no `path`; the next `folder_aside(path)`, or `sweep`, puts the old one back.

    Raises:
        RunError: the parent folder cannot be written, or the disk is full.
    """
    old = path.with_name(OLD + path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _put_back(old, path)
        aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f"{ASIDE}{path.name}-"))
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        yield aside
        aside.chmod(0o777 & ~_umask())
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            path.replace(old)
        aside.replace(path)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise _unwritable(path, error) from None
        raise
    finally:
        _put_back(old, path)
        shutil.rmtree(aside, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Tidy up after writers that were killed in `folder` or below; nobody may be writing there.

    What they left aside is removed; an old folder moved away for a new one that never came is put back.
    """
    for old in list(folder.rglob(f"{OLD}*")):
        _put_back(old, old.with_name(old.name.removeprefix(OLD)))
    for left in [*folder.rglob(f"{OLD}*"), *folder.rglob(f"{ASIDE}*")]:
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all.

    Raises:
        RunError: the folder cannot be written.
    """
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def user_cache() -> Path:
    """Return the user's folder for what this program can make again; the system or XDG_CACHE_HOME says where."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "cinetune"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unwritable(path: Path, error: OSError) -> RunError:
    if error.errno in DISK_FULL:
        return RunError(f"{path}: the disk is full; free some space and run this again")
    return RunError(f"{path}: cannot write here ({error.strerror}); choose another folder")


def _put_back(old: Path, path: Path) -> None:
    if old.exists() and not path.exists():
        old.replace(path)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
