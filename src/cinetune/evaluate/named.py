"""Which videos are meant by what was typed: files, folders, patterns and manifests.

A video's name pairs it with others. It is its path below the folder (or the fixed part of the pattern) that was
given, without suffix and with forward slashes; a file that is given itself is named by its stem.
"""

import difflib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from glob import glob, has_magic
from pathlib import Path

from cinetune.errors import MetricError
from cinetune.footage.any_video import SUFFIXES, is_sequence, shown


@dataclass(frozen=True)
class Named:
    """One video as it was named."""

    name: str
    path: Path
    arm: str = ""
    """"" where it is that of the option it was given with."""
    reference: Path | None = None
    """Where the manifest says so."""
    reference_name: str = ""
    caption: str = ""
    cluster: str = ""


@dataclass(frozen=True)
class Line:
    """The fields of one line of a manifest."""

    video: str
    """Relative to the folder of the manifest."""
    reference: str = ""
    """The true continuation, as `video`."""
    id: str = ""
    """Default: `video` without suffix."""
    caption: str = ""
    arm: str = ""
    cluster: str = ""
    """What it shares with videos that are not independent of it, such as its scene."""


def expand(given: Sequence[Path]) -> list[Named]:
    """Return the videos that are meant, in order of the arguments and then of names.

    Raises:
        MetricError: nothing there, a folder without videos, or a line of a manifest that is none.
    """
    return [video for path in given for video in _expanded(path)]


def _expanded(path: Path) -> Iterator[Named]:
    if path.is_dir():
        yield from _folder(path, path)
    elif path.suffix.lower() == ".jsonl":
        yield from _manifest(path)
    elif os.path.lexists(path):
        yield Named(shown(path.stem), path)
    elif has_magic(str(path)):
        yield from _pattern(path)
    else:
        raise MetricError(f"{shown(path)}: no such folder or video; check the path")


def _folder(folder: Path, root: Path) -> list[Named]:
    """Return the videos below a folder; hidden files and folders are not looked at.

    Raises:
        MetricError: none there, or a folder cannot be opened.
    """
    try:
        found = sorted(_below(folder), key=lambda path: path.as_posix())
    except OSError as error:
        raise MetricError(f"{shown(error.filename)}: cannot be opened ({error.strerror}); name what is in it") from None
    if not found:
        kinds = ", ".join(sorted(SUFFIXES))
        raise MetricError(
            f"{shown(folder)}: no video in this folder (looked for {kinds}, and folders of numbered pictures)"
        )
    return [Named(_name(path, root), path) for path in found]


def _below(folder: Path) -> Iterator[Path]:
    if is_sequence(folder):
        yield folder
        return
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _below(path)
        elif path.suffix.lower() in SUFFIXES:
            yield path


def _pattern(pattern: Path) -> Iterator[Named]:
    fixed = Path(*_fixed_parts(pattern))
    fitting = sorted(Path(name) for name in glob(str(pattern), recursive=True))  # noqa: PTH207 - may be absolute
    if not fitting:
        raise MetricError(f"{pattern}: no file fits this pattern")
    for path in fitting:
        if path.is_dir():
            if "**" not in pattern.parts:  # which already names what is inside
                yield from _folder(path, fixed)
        else:
            yield Named(_name(path, fixed), path)


def _fixed_parts(pattern: Path) -> list[str]:
    parts = []
    for part in pattern.parts:
        if has_magic(part):
            break
        parts.append(part)
    return parts


def _name(path: Path, root: Path) -> str:
    inside = path.relative_to(root) if path != root else Path(path.resolve().name)
    return shown((inside if path.is_dir() else inside.with_suffix("")).as_posix())


def _manifest(path: Path) -> Iterator[Named]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise MetricError(f"{shown(path)}: cannot read this manifest; it is JSON lines in UTF-8") from None
    told = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not told:
        raise MetricError(f'{shown(path)}: an empty manifest; a line is an object such as {{"video": "a.mp4"}}')
    for number, text in told:
        line = _line(f"{shown(path)}:{number}", text)
        yield Named(
            name=line.id or Path(line.video).with_suffix("").as_posix(),
            path=path.parent / line.video,
            arm=line.arm,
            reference=path.parent / line.reference if line.reference else None,
            reference_name=Path(line.reference).with_suffix("").as_posix() if line.reference else "",
            caption=line.caption,
            cluster=line.cluster,
        )


def _line(where: str, text: str) -> Line:
    """Read one line of a manifest.

    Raises:
        MetricError: not an object, a field that there is none of, or one that is no text; `video` is missing.
    """
    try:
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        raise MetricError(f"{where}: not JSON ({error.msg})") from None
    if not isinstance(tree, dict):
        raise MetricError(f'{where}: not a JSON object; a line is one such as {{"video": "a.mp4"}}')
    known = [field.name for field in fields(Line)]
    for name, value in tree.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1) or known
            raise MetricError(f"{where}: no field {name!r}; did you mean {', '.join(close)}?")
        if not isinstance(value, str):
            raise MetricError(f"{where}: {name} is {json.dumps(value)}; give text in quotes")
    if not tree.get("video"):
        raise MetricError(f"{where}: no video; add the field, a path from the folder of this file")
    return Line(**tree)
