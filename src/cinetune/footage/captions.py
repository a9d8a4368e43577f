"""What a clip shows, in words: from a text file beside the film where there is one, else from measurements."""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from cinetune.errors import FootageError

Frames = UInt8[np.ndarray, "f h w 3"]


@dataclass(frozen=True)
class Line:
    """A caption, and the part of the film it is about."""

    caption: str
    start: float = 0.0
    """s."""
    end: float = float("inf")
    """s."""
    scene: str = ""
    """What its author calls the scene, or "" where nothing is said."""


def read_sidecar(film: Path) -> list[Line]:
    """Return what text files beside a film say about it, in order of time; an empty list where there are none.

    The first of these that there is: `<stem>.json` as the renderer writes it (a list "shots" of objects with
    start, end, caption, scene), `<stem>.txt` (one caption for the whole film), and `captions.csv` or
    `captions.jsonl` in the same folder (columns or keys file, caption and, if wanted, start, end, scene), when
    they name the film.

    Raises:
        FootageError: the file is not of its kind, or a line lacks its caption.
    """
    beside = film.with_suffix(".json")
    if beside.is_file():
        tree = _json(beside, _text(beside), "1")
        shots = tree.get("shots") if isinstance(tree, dict) else None
        if not isinstance(shots, list):
            raise FootageError(f'{beside}: no list "shots" in it; give it another name if it has no captions')
        return _sorted(_line(row, f"{beside}: shot {n}") for n, row in enumerate(shots))
    beside = film.with_suffix(".txt")
    if beside.is_file():
        caption = " ".join(_text(beside).split())
        if not caption:
            raise FootageError(f"{beside}: empty; write the caption of {film.name} into it or delete it")
        return [Line(caption)]
    for table in (film.with_name("captions.csv"), film.with_name("captions.jsonl")):
        if table.is_file():
            rows = _csv(table) if table.suffix == ".csv" else _jsonl(table)
            mine = [(row, n) for row, n in rows if row.get("file") == film.name]
            if mine:
                return _sorted(_line(row, f"{table}:{n}") for row, n in mine)
    return []


def line_for(lines: Iterable[Line], start: float, end: float) -> Line | None:
    """Return the line that shares the most time with start..end (s), or None where none does."""
    overlap = [(min(end, line.end) - max(start, line.start), -n, line) for n, line in enumerate(lines)]
    best = max(overlap, default=None)
    return best[2] if best is not None and best[0] > 0 else None


def describe(frames: Frames, fps: float, film: str = "") -> str:
    """Return one plain sentence of what can be measured: light, contrast, colours and movement.

    Args:
        frames: a clip; of one frame, nothing is said of movement.
        fps: frames per second.
        film: file name; people name clips by content, so words in it come first. Numbers and the words of
            cameras and editors ("IMG_0012", "final cut") are left out.
    """
    small = np.stack([_small(frame) for frame in frames])
    picture = " ".join(part for part in (_light(small), "picture", _colours(small)) if part)
    movement = f", {_movement(small, fps)}" if len(small) > 1 else ""
    sentence = f"{'An' if picture[0] in 'aeiou' else 'A'} {picture}{movement}."
    words = name_words(film)
    return f"{words[0].upper()}{words[1:]}: {sentence[0].lower()}{sentence[1:]}" if words else sentence


def name_words(film: str) -> str:
    """Return the words of a file name, such as "one by one" of one-by-one.mp4, or "" if it does not look like words."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", Path(film).stem)
    words = [word.lower() for word in re.split(r"[\W_]+", spaced)]
    return " ".join(w for w in words if w.isalpha() and len(w) > 1 and w not in _NO_CONTENT)


_NO_CONTENT = frozenset(
    ("img", "vid", "mov", "mvi", "dsc", "dscf", "pxl", "gopr", "gx", "clip", "film", "movie", "video", "footage",
     "sample", "scene", "shot", "take", "copy", "final", "cut", "edit", "export", "output", "out", "render", "untitled",
     "new", "test", "part", "fps", "hd", "uhd", "sd")
)  # fmt: skip


def _light(small: Frames) -> str:
    """Source: thresholds chosen by eye on the project's real and rendered clips."""
    grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in small]).astype(np.float32)
    mean, (low, high) = float(grey.mean()), np.percentile(grey, (5, 95))
    light = "dark" if mean < 45 else "dim" if mean < 85 else "bright" if mean > 160 else ""
    contrast = "low-contrast" if high - low < 60 else "high-contrast" if high - low > 200 else ""
    return ", ".join(word for word in (light, contrast) if word)


_HUE_ENDS = (15, 42, 68, 165, 195, 255, 290, 340)  # degrees
_HUES = ("red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink", "red", "brown")
_BROWN_HUE, _BROWN_VALUE = (15, 55), 150  # brown is dark orange
_PINK_VALUE, _PINK_SATURATION = 170, 115  # pink is pale red, too


def _colours(small: Frames) -> str:
    """The one or two colours of at least 15 % of the picture, where it has colour at all."""
    hsv = cv2.cvtColor(small.reshape(1, -1, 3), cv2.COLOR_RGB2HSV)[0].astype(np.float32)
    hue, value = hsv[:, 0] * 2, hsv[:, 2]
    chroma = hsv[:, 1] / 255 * value
    if float(np.percentile(chroma, 95)) < 20:  # the dithering of a GIF has some
        return "in black and white"
    kind = np.digitize(hue, _HUE_ENDS)
    kind[(hue >= _BROWN_HUE[0]) & (hue < _BROWN_HUE[1]) & (value < _BROWN_VALUE)] = len(_HUES) - 1
    red = np.isin(kind, [n for n, name in enumerate(_HUES) if name == "red"])
    kind[red & (value > _PINK_VALUE) & (hsv[:, 1] < _PINK_SATURATION)] = _HUES.index("pink")
    shares: dict[str, float] = {}
    for number, name in enumerate(_HUES):
        shares[name] = shares.get(name, 0.0) + float(((kind == number) & (chroma > 35)).mean())
    named = sorted((name for name, share in shares.items() if share >= 0.15), key=lambda name: -shares[name])[:2]
    return f"in {' and '.join(named)}" if named else "in muted colours"


def _movement(small: Frames, fps: float) -> str:
    """Speed and direction of what moves in the picture, camera or subject; picture widths per second."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in small]
    flows = [_flow(a, b) for a, b in pairwise(grey)]
    flow = np.stack(flows) * fps / small.shape[2]
    speed = np.linalg.norm(flow, axis=-1)
    fastest = float(np.percentile(speed, 95))
    if fastest < 0.04:
        return "still"
    moving = speed > max(0.02, fastest / 4)
    mean = flow[moving].mean(axis=0)
    pace = "fast" if fastest > 0.6 else "slow" if fastest < 0.2 else ""
    words = f"{pace} movement".strip()
    if np.linalg.norm(mean) < 0.5 * float(speed[moving].mean()):
        return words  # no direction in common
    across = abs(mean[0]) >= abs(mean[1])
    where = ("to the right" if mean[0] > 0 else "to the left") if across else ("down" if mean[1] > 0 else "up")
    return f"{words} {where}"


def _flow(a: UInt8[np.ndarray, "h w"], b: UInt8[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w 2"]:
    """Return x and y of the movement from a to b, pixels (Farneback 2003)."""
    flow = cv2.calcOpticalFlowFarneback(a, b, np.zeros((*a.shape, 2), np.float32), 0.5, 3, 11, 3, 5, 1.1, 0)
    return np.asarray(flow, np.float32)


def _small(frame: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "a b 3"]:
    """At most 96 pixels wide: enough for words."""
    h, w = frame.shape[:2]
    if w <= 96:
        return frame
    size = (96, max(16, round(h * 96 / w)))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def _line(row: Any, where: str) -> Line:
    if not isinstance(row, Mapping) or not isinstance(row.get("caption"), str) or not row["caption"].strip():
        raise FootageError(f'{where}: no caption; give the key or column "caption" a sentence')
    given = {key: row[key] for key in ("start", "end") if row.get(key) not in (None, "")}
    try:
        times = {key: float(value) for key, value in given.items()}
    except (TypeError, ValueError):
        raise FootageError(f"{where}: start and end are seconds, got {given}") from None
    line = Line(" ".join(row["caption"].split()), **times, scene=str(row.get("scene") or ""))
    if not line.start < line.end:
        raise FootageError(f"{where}: start {line.start:g} s is not before end {line.end:g} s")
    return line


def _sorted(lines: Iterable[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: (line.start, line.end))


def _csv(path: Path) -> list[tuple[dict[str, str], int]]:
    reader = csv.DictReader(io.StringIO(_text(path)))
    columns = reader.fieldnames or []
    if "file" not in columns or "caption" not in columns:
        raise FootageError(f"{path}: columns are {', '.join(columns)}; the first line must name file and caption")
    return [(row, reader.line_num) for row in reader]


def _jsonl(path: Path) -> list[tuple[dict[str, Any], int]]:
    rows = [(_json(path, text, str(n)), n) for n, text in enumerate(_text(path).splitlines(), 1) if text.strip()]
    for row, n in rows:
        if not isinstance(row, dict) or "file" not in row:
            raise FootageError(f'{path}:{n}: no key "file"; each line is an object with file and caption')
    return rows


def _json(path: Path, text: str, line: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise FootageError(f"{path}:{line}: not JSON ({error.msg}); mend or delete the file") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets put a byte order mark first
    except (OSError, UnicodeDecodeError):
        raise FootageError(f"{path}: cannot read this as UTF-8 text; mend or delete the file") from None
