"""Which films are meant by what was typed, and what their headers and sidecars say."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from cinetune.errors import FootageError
from cinetune.files import sha256
from cinetune.footage.captions import Line, read_sidecar
from cinetune.footage.pictures import PICTURES, picture_size
from cinetune.footage.video_io import VideoInfo, probe

SUFFIXES = frozenset(
    (".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv",
     ".ts", ".webm", ".wmv", ".y4m")
)  # fmt: skip
"""What counts as a film inside a folder; a file that is named itself may be called anything."""


@dataclass(frozen=True)
class Film:
    """One film file, or still picture, opened and read as far as its header."""

    path: Path
    digest: str
    """SHA-256 of the file."""
    info: VideoInfo
    lines: list[Line]
    """What text beside it says."""

    @property
    def picture(self) -> bool:
        """Whether it is a still picture."""
        return is_picture(self.path)

    @property
    def id(self) -> str:
        """Readable, and unique by content: names a film's files on every system."""
        stem = re.sub(r"[^a-z0-9]+", "-", self.path.stem.lower()).strip("-")[:40]
        return f"{stem or 'film'}-{self.digest[:8]}"


def is_picture(path: Path) -> bool:
    """Return whether a file counts as a still picture, by its name."""
    return path.suffix.lower() in PICTURES


def find_films(given: Sequence[Path]) -> list[Path]:
    """Return the films and pictures that are meant by files, folders and patterns, each content once.

    Raises:
        FootageError: nothing there, a film whose header cannot be read, or damaged captions beside it.
    """
    films, _ = open_films(given)
    return [film.path for film in films]


def open_films(given: Sequence[Path]) -> tuple[list[Film], list[str]]:
    """Return the films and pictures, and the names of those left out because another one has the same bytes.

    Raises:
        FootageError: as `find_films`.
    """
    films: dict[str, Film] = {}
    repeated = []
    for path in (film for one in given for film in _expanded(one)):
        info = _picture_info(path) if is_picture(path) else probe(path)
        digest = sha256(path)
        if digest in films:
            if films[digest].path.resolve() != path.resolve():
                repeated.append(path.name)
            continue
        films[digest] = Film(path, digest, info, read_sidecar(path))
    if not films:
        raise FootageError("no films given; name film files, folders of films, or patterns such as *.mp4")
    return list(films.values()), repeated


def _picture_info(path: Path) -> VideoInfo:
    height, width = picture_size(path)
    return VideoInfo(0.0, 1, 0.0, height, width, path.suffix.lower().removeprefix("."), "picture")


def _expanded(path: Path) -> list[Path]:
    """A folder stands for what lies right in it; a pattern, which Windows' shells pass on, for what it fits."""
    if path.is_dir():
        films = sorted(p for p in path.iterdir() if p.is_file() and p.suffix.lower() in SUFFIXES | PICTURES)
        if not films:
            raise FootageError(f"{path}: no films in this folder (folders inside it are not searched); name the files")
        return films
    if not path.exists() and has_magic(str(path)):
        fitting = sorted(Path(name) for name in glob(str(path)))  # noqa: PTH207  # a pattern may be absolute
        if not fitting:
            raise FootageError(f"{path}: no file fits this pattern")
        return [film for part in fitting for film in (_expanded(part) if part.is_dir() else [part])]
    return [path]
