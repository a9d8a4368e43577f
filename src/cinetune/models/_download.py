"""Download a model from the hub into its cache: only what is wanted, resumed where it stopped, checked by SHA-256.

huggingface_hub lays out the cache, finds what is in it and answers offline. But it keeps nothing of a file that was
broken off (2.4, file_download.py: _download_to_tmp_and_move), and a shard of the 14B model is 5 GB. So large files are
fetched here, through its own transfer, under another name until the sum is right; then they are in its cache.
"""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from io import BufferedWriter, FileIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import HfApi, constants, get_hf_file_metadata, hf_hub_url, snapshot_download
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # all public, but its __init__ has no __all__
    WeakFileLock,
    are_progress_bars_disabled,
    build_hf_headers,
    disable_progress_bars,
    enable_progress_bars,
    filter_repo_objects,
)

from cinetune import console
from cinetune.errors import RunError, WeightsError
from cinetune.files import sha256, write_text

KINDS = ("*.json", "*.txt", "*.model", "*.safetensors")
"""What a folder in diffusers layout is made of; nothing pickled."""
AT_ONCE = 4
MEGABYTE = 1e6
VERIFIED = "cinetune-verified.json"
"""Beside the model's blobs: which of them had the right sum, with size and time of change."""


def download(repo: str, *, revision: str | None, parts: tuple[str, ...] | None) -> Path:
    """Return the folder of a model in the hub's cache, complete for the parts wanted and with checked sums.

    Args:
        repo: the hub id, owner/name.
        revision: a branch, tag or commit; None is the main branch.
        parts: the folders wanted beside model_index.json; None is all.

    Raises:
        WeightsError: unknown, unreachable, too large for the disk, or not what the hub says it is.
    """
    kinds = [f"{part}/{kind}" for part in parts for kind in KINDS] if parts is not None else list(KINDS)
    return download_matching(repo, revision=revision, patterns=["model_index.json", *kinds])


def download_matching(repo: str, *, revision: str | None, patterns: list[str]) -> Path:
    """Return the folder of a repository in the hub's cache, with the files that match and checked sums.

    Args:
        repo: the hub id, owner/name.
        revision: a branch, tag or commit; None is the main branch.
        patterns: shell patterns of paths inside the repository; `*` matches slashes too.

    Raises:
        WeightsError: unknown, unreachable, too large for the disk, or not what the hub says it is.
    """
    try:  # huggingface_hub raises a different class, of three libraries, for each way in which it can fail
        commit, files = _list(repo, revision, patterns)
    except Exception as error:
        folder = _cached(repo, revision, patterns, error)
    else:
        try:
            _fetch_large(repo, commit, files)
            with _no_bars():
                folder = Path(snapshot_download(repo, revision=revision, allow_patterns=patterns))
        except WeightsError:
            raise
        except Exception as error:
            raise WeightsError(
                f"{repo}: the download stopped ({_reason(error)}); run this again, it goes on from there"
            ) from None
    _verify(repo, folder)
    return folder


def _list(repo: str, revision: str | None, patterns: list[str]) -> tuple[str, list[RepoFile]]:
    """Return the commit and the files that match."""
    api = HfApi()
    commit = api.model_info(repo, revision=revision).sha
    entries = api.list_repo_tree(repo, recursive=True, revision=commit)
    files = [entry for entry in entries if isinstance(entry, RepoFile)]
    return str(commit), list(filter_repo_objects(files, allow_patterns=patterns, key=lambda file: file.path))


def _cached(repo: str, revision: str | None, patterns: list[str], reason: Exception) -> Path:
    """Return what an earlier download left, complete."""
    try:
        with _no_bars():
            folder = snapshot_download(repo, revision=revision, allow_patterns=patterns, local_files_only=True)
    except Exception:  # it can only repeat that the files are not here; the reason is why they cannot be had
        raise WeightsError(
            f"{repo}: neither a folder here nor to be had from the hub ({_reason(reason)}); "
            "download it elsewhere and give the folder"
        ) from None
    if not constants.HF_HUB_OFFLINE:
        console.note(f"{repo}: the hub cannot be reached ({_reason(reason)}); using the copy in {folder}")
    return Path(folder)


def _fetch_large(repo: str, commit: str, files: list[RepoFile]) -> None:
    """Put the large files that are not there yet into the cache's blobs."""
    storage = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="model")
    blobs = storage / "blobs"
    large = {blobs / file.lfs.sha256: file for file in files if file.lfs is not None}
    wanted = {blob: file for blob, file in large.items() if not blob.exists()}
    have = {blob: _size(_partial(blob)) for blob in wanted}
    small = sum(file.size for file in files if file.lfs is None)
    _check_space(repo, sum(file.size for file in wanted.values()) - sum(have.values()) + small)
    if not wanted:
        return
    blobs.mkdir(parents=True, exist_ok=True)
    total, done = sum(file.size for file in wanted.values()) / MEGABYTE, sum(have.values()) / MEGABYTE
    stop, lock = threading.Event(), threading.Lock()
    with console.progress(f"download {repo} (MB)", total, done) as advance, _no_bars():

        def count(size: int) -> None:
            if stop.is_set():
                raise InterruptedError("stopped")
            with lock:
                advance(size / MEGABYTE)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            jobs = [pool.submit(_fetch, repo, commit, file, blob, count) for blob, file in wanted.items()]
            try:
                for job in as_completed(jobs):
                    job.result()
            except BaseException:  # also when a person stops it: the others must not go on for gigabytes
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise
    _remember(storage, list(wanted))


def _fetch(repo: str, commit: str, file: RepoFile, blob: Path, count: Callable[[int], None]) -> None:
    """Fetch one file from where it stopped; it gets its name in the cache only with the right sum."""
    partial = _partial(blob)
    locks = Path(constants.HF_HUB_CACHE) / ".locks" / blob.parent.parent.name
    locks.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(locks / f"{blob.name}.lock"):
        if blob.exists():  # another process was faster
            return
        url = hf_hub_url(repo, file.path, revision=commit)
        location, headers = get_hf_file_metadata(url).location, build_hf_headers()
        if urlsplit(location).netloc != urlsplit(url).netloc:
            headers.pop("authorization", None)  # the token is for the hub alone
        if _size(partial) > file.size:  # of no use, and the hub would refuse to go on from there
            partial.unlink()
        with _Counted(partial, count) as out:
            http_get(location, out, resume_size=_size(partial), headers=headers, expected_size=file.size)
        if sha256(partial) != blob.name:
            partial.unlink()
            raise WeightsError(
                f"{repo}: {file.path} has not the sum that the hub names; run this again to fetch it anew"
            )
        partial.replace(blob)


class _Counted(BufferedWriter):
    """A file to append to that tells how much was written."""

    def __init__(self, path: Path, count: Callable[[int], None]) -> None:
        super().__init__(FileIO(path, "ab"))
        self._count = count

    def write(self, data: Any) -> int:
        self._count(len(data))
        return super().write(data)


def _check_space(repo: str, needed: int) -> None:
    cache = Path(constants.HF_HUB_CACHE)
    there = next(folder for folder in (cache, *cache.parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise WeightsError(
            f"{repo}: {needed / 1e9:.1f} GB to download, {free / 1e9:.1f} GB free in {cache}; "
            "free some space, or set HF_HOME to a folder on a larger disk"
        )


def _verify(repo: str, folder: Path) -> None:
    """Check once the sum of every large file that somebody else put into the cache; its name there is the sum."""
    storage = folder.parents[1]  # STORAGE/snapshots/COMMIT
    known = _read_verified(storage)
    links = {link.resolve(): link for link in folder.rglob("*") if link.is_file()}
    unchecked = [b for b in links if len(b.name) == 64 and b.parent.name == "blobs" and known.get(b.name) != _state(b)]
    if not unchecked:
        return
    with console.progress(f"check {repo} (MB)", sum(_size(blob) for blob in unchecked) / MEGABYTE) as advance:
        for blob in unchecked:
            if sha256(blob) != blob.name:
                file = links[blob].relative_to(folder)
                links[blob].unlink()
                blob.unlink()
                raise WeightsError(
                    f"{repo}: {file} is damaged in the cache and was removed; run this again to fetch it"
                )
            advance(_size(blob) / MEGABYTE)
    _remember(storage, unchecked)


def _remember(storage: Path, blobs: list[Path]) -> None:
    known = _read_verified(storage) | {blob.name: _state(blob) for blob in blobs}
    try:
        write_text(storage / VERIFIED, json.dumps({"schema": 1, "files": known}, indent=1, sort_keys=True) + "\n")
    except RunError as error:  # a cache that others look after; the weights are right all the same
        console.note(f"cannot remember that the sums were checked: {error}")


def _read_verified(storage: Path) -> dict[str, list[int]]:
    """Return what was checked; nothing when the file is not there or not readable, for then it is checked again."""
    try:
        files: dict[str, list[int]] = json.loads((storage / VERIFIED).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return files


def _state(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _partial(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.cinetune-part")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: BaseException) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}".removesuffix(": ")


@contextmanager
def _no_bars() -> Iterator[None]:
    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
