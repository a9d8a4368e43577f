"""What an adapter knows of its film: the words that its captions share, the grade of its clips, the base it is for."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from cinetune import plugins
from cinetune.adapters.kind import kind_of
from cinetune.errors import RecordError, WeightsError
from cinetune.files import write_text
from cinetune.records import Clip, read_records
from cinetune.runs import load_run

STYLE_FILE = "style.json"
"""Beside a card: what the hub's own fields have no place for."""
SCHEMA = 1
LEAST_SHOTS = 3
"""Captions of fewer shots share words by chance, or because they tell of the same thing."""
LONGEST = 12
"""Words of a phrase."""
_NO_START = frozenset(
    ("a", "an", "the", "and", "or", "of", "to", "is", "are", "its", "his", "her", "their")
)  # fmt: skip
_NO_END = _NO_START | frozenset(
    ("in", "on", "at", "by", "with", "from", "for", "under", "over", "into", "as", "this", "that")
)  # fmt: skip
_EMPTY = _NO_END | frozenset(
    ("picture", "video", "film", "clip", "footage", "shot", "scene", "camera", "movement", "left", "right", "up",
     "down")
)  # fmt: skip
"""Words that say nothing of a style when they stand alone."""


@dataclass(frozen=True, eq=False)
class Style:
    """What is known; what is not is empty or None."""

    source: str = ""
    """"run", "card", or "" where nothing is known."""
    words: tuple[str, ...] = ()
    """Phrases, the most common first."""
    base: str = ""
    """The model it was made for, as the recipe or the card names it."""
    kind: str = ""
    """Of that model: "i2v", "t2v" or "ti2v"."""
    grades: Float[np.ndarray, "n 2 3"] | None = None
    """Mean and deviation of L*, a*, b* of training clips, CIELAB units."""
    sharpness: tuple[float, float] | None = None
    """Between which that of most of these clips lies (see `metrics/sharpness.py`), grey levels."""
    height: int = 0
    """Of the clips that sharpness was measured on, pixels."""


def find_style(source: Path) -> Style:
    """Return what a run folder, else the card beside an adapter, says; an empty Style where neither is there.

    Args:
        source: a run folder, an adapter file (in a run's train/best, too), or a folder with one.

    Raises:
        RunError, RecordError, WeightsError: the run, the card, its style.json or the run's model is damaged.
    """
    run = run_of(source)
    if run is not None:
        name = load_run(run).model
        captions = {clip.shot: clip.caption for clip, _ in training_clips(run)}
        return Style("run", style_words(captions.values()), name, _kind_of_model(name))
    return _of_card(source if source.is_dir() else source.parent)


def run_of(source: Path) -> Path | None:
    """Return the run folder that is, or holds, an adapter; None where there is none."""
    whole = source.absolute()
    places = {whole, *(folder for folder in whole.parents[:3] if whole.is_relative_to(folder / "train"))}
    return next((folder for folder in places if (folder / "recipe.json").is_file()), None)


def training_clips(source: Path) -> list[tuple[Clip, Path]]:
    """Return the clips that a run was trained on, each with its video; nothing where there is no prepared run.

    Raises:
        RecordError: the run's clips.jsonl is damaged.
    """
    run = run_of(source)
    if run is None or not (run / "footage" / "clips.jsonl").is_file():
        return []
    clips = read_records(run / "footage" / "clips.jsonl", Clip)
    return [(clip, run / "footage" / clip.video) for clip in clips if clip.split == "train"]


def style_words(captions: Iterable[str], share: float = 0.75) -> tuple[str, ...]:
    """Return the phrases that stand in at least a share of the captions, the most common first.

    A phrase is a row of words without a mark between them; of two as common the longer one is taken, and its words are
    then no part of another. One of articles, prepositions and words such as "picture" alone is none.

    Args:
        captions: one for each shot, so that a shot of many clips has no more say than others.
        share: 0..1. At a half, the places and people of a film of two of them pass for its style.
    """
    rows = [[part.split() for part in re.split(r"[,.;:!?\n]+", caption) if part.strip()] for caption in captions]
    if len(rows) < LEAST_SHOTS:
        return ()
    found: list[str] = []
    while best := _most_common(rows, share * len(rows)):
        found.append(_as_written(rows, best))
        rows = [[piece for part in row for piece in _without(part, best)] for row in rows]
    return tuple(found)


def write_style(path: Path, style: Style, base: str | None) -> None:
    """Write `STYLE_FILE`; the same style, the same bytes.

    Args:
        base: hub id of the base model; a path of this machine is nobody's business.
    """
    tree = {
        "schema": SCHEMA, "words": list(style.words), "base": base or "", "kind": style.kind,
        "sharpness": style.sharpness, "height": style.height,
        "grades": None if style.grades is None else np.round(style.grades, 3).tolist(),
    }  # fmt: skip
    write_text(path, json.dumps(tree, ensure_ascii=False) + "\n")


def _of_card(folder: Path) -> Style:
    """Front matter of README.md, and what `STYLE_FILE` says more exactly."""
    front, more = _front_matter(folder / "README.md"), _style_file(folder / STYLE_FILE)
    trigger, base = front.get("instance_prompt"), front.get("base_model")
    words = more.get("words") or ([part.strip() for part in trigger.split(",")] if isinstance(trigger, str) else [])
    name = str((base[0] if isinstance(base, list) and base else base) or more.get("base") or "")
    if not (words or name or more):
        return Style()
    grades = None if more.get("grades") is None else np.array(more["grades"], np.float64)
    low_high = None if more.get("sharpness") is None else (more["sharpness"][0], more["sharpness"][1])
    return Style("card", tuple(word for word in words if word), name, more.get("kind") or kind_of(name), grades,
                 low_high, more.get("height", 0))  # fmt: skip


def _front_matter(path: Path) -> Mapping[str, Any]:
    """The YAML at the head of a card; nothing where there is none."""
    if not path.is_file():
        return {}
    from huggingface_hub.repocard import metadata_load

    try:
        return metadata_load(path) or {}
    except Exception as error:  # classes of a YAML reader that huggingface_hub brings
        reason = next(iter(str(error).splitlines()), "")
        raise RecordError(f"{path}: the block between --- is not YAML ({reason}); mend it or delete the file") from None


def _style_file(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        whole = tree["schema"] == SCHEMA and all(isinstance(word, str) for word in tree["words"])
        whole = whole and (tree["grades"] is None or np.array(tree["grades"], np.float64).shape[1:] == (2, 3))
        whole = whole and (tree["sharpness"] is None or np.array(tree["sharpness"], np.float64).shape == (2,))
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise RecordError(f"{path}: not a style of schema {SCHEMA}; write it again with `cinetune adapter card`")
    return dict(tree)


def _kind_of_model(name: str) -> str:
    """What the folder of a recipe's model says of itself; what its name says where it is not on this machine."""
    named = plugins.load("models", name).source if name in plugins.names("models") else name
    index = Path(named) / "model_index.json"
    if not index.is_file():
        return kind_of(named)
    try:
        tree = json.loads(index.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{index}: not JSON ({error}); download it again") from None
    if tree.get("expand_timesteps"):
        return "ti2v"
    return {"WanPipeline": "t2v", "WanImageToVideoPipeline": "i2v"}.get(tree.get("_class_name"), "")


Phrase = tuple[str, ...]


def _most_common(rows: list[list[list[str]]], least: float) -> Phrase | None:
    """The phrase of most rows, in small letters; of several the longest, then the first by the alphabet."""
    counts = Counter(
        phrase
        for row in rows
        for phrase in {
            tuple(word.casefold() for word in part[start:end])
            for part in row
            for start in range(len(part))
            for end in range(start + 1, min(len(part), start + LONGEST) + 1)
        }
    )
    able = [phrase for phrase, count in counts.items() if count >= least and _says_something(phrase)]
    return min(able, key=lambda phrase: (-counts[phrase], -len(phrase), phrase), default=None)


def _says_something(phrase: Phrase) -> bool:
    full = any(word not in _EMPTY and any(map(str.isalpha, word)) for word in phrase)
    return full and phrase[0] not in _NO_START and phrase[-1] not in _NO_END


def _places(part: list[str], phrase: Phrase) -> list[int]:
    small = tuple(word.casefold() for word in part)
    return [start for start in range(len(part)) if small[start : start + len(phrase)] == phrase]


def _as_written(rows: list[list[list[str]]], phrase: Phrase) -> str:
    """The phrase in the letters of the first caption that has it."""
    part, start = next((part, at) for row in rows for part in row for at in _places(part, phrase))
    return " ".join(part[start : start + len(phrase)])


def _without(part: list[str], phrase: Phrase) -> list[list[str]]:
    """What stays before and after the first place of a phrase; more places are found in the rest."""
    places = _places(part, phrase)
    if not places:
        return [part]
    before, after = part[: places[0]], part[places[0] + len(phrase) :]
    return [piece for piece in (before, *_without(after, phrase)) if piece]
