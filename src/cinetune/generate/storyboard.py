"""The storyboard: one TOML file that says what is to be seen, shot by shot.

Read once, checked, and frozen: every picture was opened and is known by the hash of its bytes. What the board leaves
open is filled by `Board.resolved` with what is usual for the model. docs/storyboard.md is for those who write one.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator

from cinetune.errors import RecipeError
from cinetune.generate.drift import ANCHOR
from cinetune.generate.shot import (
    OVERLAP,
    RESTYLING,
    ROLES,
    Fps,
    Height,
    ResolvedSampling,
    ResolvedShot,
    Sampling,
    Seed,
    Shot,
    Width,
)
from cinetune.models._contract import Usual
from cinetune.recipe.section import Section, one_line, read_toml


class Board(Section):
    """A whole storyboard."""

    title: str = ""
    """Of the film; changes nothing that is seen."""
    height: Height | None = None
    """Pixels, a multiple of 16; with `width`, or neither."""
    width: Width | None = None
    """Pixels, a multiple of 16."""
    fps: Fps | None = None
    """Frames per second."""
    seed: Seed = 0
    """Every shot's seed follows from it."""
    style: str = "auto"
    """Words for the look that follow each prompt: auto takes those of the adapter's card, "" none."""
    negative: str = ""
    """What is not wanted; works where guidance is above 1."""
    sampling: Sampling = Sampling()
    """How the network is sampled."""
    shots: tuple[Shot, ...] = Field((), alias="shot")
    """In the order of the film."""
    _source: str = PrivateAttr("storyboard")

    @field_validator("shots", mode="before")
    @classmethod
    def _rows(cls, rows: Any) -> Any:
        if isinstance(rows, dict):
            raise ValueError("a shot is headed [[shot]], in double brackets")
        named = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
        return [{"name": _default_name(number), **row} for number, row in enumerate(rows)] if named else rows

    @model_validator(mode="after")
    def _agrees(self) -> "Board":
        if (self.height is None) != (self.width is None):
            raise ValueError("height and width go together; give both or neither")
        if not self.shots:
            raise ValueError("no shots; add [[shot]] with a prompt and seconds")
        taken: dict[str, int] = {}
        for number, shot in enumerate(self.shots):
            if number == 0 and shot.after:
                raise ValueError(f'{_called(0, shot.name)}: after = "previous", and no shot is before it; give a still')
            first = taken.setdefault(shot.name.casefold(), number)
            if first != number:
                raise ValueError(f"{_called(number, shot.name)}: shot {first + 1} has this name too; give it another")
        return self

    @property
    def ids(self) -> dict[str, str]:
        """Of each shot's name 12 hex digits: a hash of all that decides how it looks, the shots it continues included.

        Pictures count by their bytes. Take it, as `id`, of the resolved board: this one may leave something open.
        """
        ours = self.model_dump(mode="json", include={"height", "width", "fps", "style", "negative", "sampling"})
        ids, before = {}, ""
        for shot in self.shots:
            its = shot.model_dump(
                mode="json", exclude={"name": True, "seed": True, **{role: {"path"} for role in ROLES}}
            )
            before = ids[shot.name] = digest([ours, its, self.seed_of(shot), before if shot.after else ""])
        return ids

    @property
    def id(self) -> str:
        """12 hex digits, the same for boards of which the same film is made: the same shots in the same order."""
        return digest(list(self.ids.items()))

    @property
    def chains(self) -> tuple[tuple[Shot, ...], ...]:
        """The shots in rows, of which each continues the one before; different rows do not depend on each other."""
        rows: list[tuple[Shot, ...]] = []
        for shot in self.shots:
            rows.append((*rows.pop(), shot) if shot.after else (shot,))
        return tuple(rows)

    def words(self, card: tuple[str, ...]) -> tuple[str, ...]:
        """Return the phrases of the style, of which `card` are those of the adapter's."""
        return card if self.style == "auto" else (self.style,) if self.style.strip() else ()

    def seed_of(self, shot: Shot) -> int:
        """Return the shot's own seed, or one that follows from the board's seed and the shot's name.

        From the name, which is its number where none was given: a named shot stays what it is when others are put
        before it.
        """
        return int(digest([self.seed, shot.name])[:8], 16) % 2**31 if shot.seed is None else shot.seed

    def frames_of(self, shot: Shot, fps: float) -> int:
        """Return the exact length of a shot in frames; halves are rounded up.

        Raises:
            RecipeError: its seconds are less than half a frame.
        """
        if shot.frames is not None:
            return shot.frames
        frames = math.floor((shot.seconds or 0) * fps + 0.5)
        if not frames:
            where = f"{self._source}: {_called(self.shots.index(shot), shot.name)}"
            raise RecipeError(
                f"{where}: {shot.seconds:g} s at {fps:g} frames per second is no frame; give more seconds"
            )
        return frames

    def resolved(self, usual: Usual) -> "ResolvedBoard":
        """Return the board with everything said that it leaves open.

        Raises:
            RecipeError: what it says does not go with what is usual, such as an overlap as long as a window.
        """
        tree = self.model_dump(by_alias=True)
        tree = _filled(tree, {"height": usual.height, "width": usual.width, "fps": usual.fps})
        shift = usual.shift_at(tree["height"], tree["width"])
        usually = {"steps": usual.steps, "guidance": usual.guidance, "shift": shift, "window": usual.frames,
                   "anchor": ANCHOR}  # fmt: skip
        told = _filled(tree["sampling"], usually)
        tree["sampling"] = _filled(told, {"overlap": OVERLAP if told["window"] > OVERLAP else 1})
        for row, shot in zip(tree["shot"], self.shots, strict=True):
            row["seed"] = self.seed_of(shot)
            if shot.reference and shot.strength is None:
                row["strength"] = RESTYLING
        board = _checked(ResolvedBoard, tree, self._source, Path())
        for shot in board.shots:
            board.frames_of(shot, board.fps)
        return board


class ResolvedBoard(Board):
    """Nothing left open."""

    height: Height
    width: Width
    fps: Fps
    sampling: ResolvedSampling
    shots: tuple[ResolvedShot, ...] = Field(alias="shot")


def load_board(path: Path) -> Board:
    """Read a storyboard and open every picture it names.

    Raises:
        RecipeError: no such file, not UTF-8, not TOML, or anything wrong in it: the file, the shot, and what to do.
    """
    if not path.is_file():
        raise RecipeError(f"{path}: no such storyboard; check the path")
    return _checked(Board, read_toml(path, "a storyboard"), str(path), path.parent)


def short_form(
    image: Path | None, prompt: str, *, seconds: float | None = None, frames: int | None = None, seed: int = 0,
    strength: float | None = None, **settings: Any,
) -> Board:  # fmt: skip
    """Return the board of one shot: an image and a prompt.

    Args:
        image: the first frame; with `strength` the picture that is restyled to be it; None begins from the prompt.
        seconds, frames: its length, one of them.
        settings: fields of a board, such as height and width.

    Raises:
        RecipeError: as `load_board`.
    """
    shot = {"prompt": prompt, "seconds": seconds, "frames": frames, "strength": strength}
    if image is not None:
        shot["still" if strength is None else "reference"] = str(image)
    return _checked(Board, {"seed": seed, **settings, "shot": [shot]}, "the board of one shot", Path())


Kind = TypeVar("Kind", bound=Board)


def _checked(kind: type[Kind], tree: dict[str, Any], source: str, folder: Path) -> Kind:
    try:
        board = kind.model_validate(tree, context={"folder": folder})
    except ValidationError as error:
        key, *inside = error.errors()[0]["loc"] or ("",)
        if key != "shot" or not inside or not isinstance(inside[0], int):
            raise RecipeError(one_line(source, error, Board)) from None
        number, row = inside[0], tree["shot"][inside[0]]
        name = row.get("name", _default_name(number)) if isinstance(row, Mapping) else _default_name(number)
        raise RecipeError(one_line(f"{source}: {_called(number, name)}", error, Board, below=2)) from None
    board._source = source
    return board


def _filled(tree: dict[str, Any], usually: Mapping[str, Any]) -> dict[str, Any]:
    return tree | {key: value for key, value in usually.items() if tree[key] is None}


def _default_name(number: int) -> str:
    return f"shot-{number + 1}"


def _called(number: int, name: Any) -> str:
    return f'shot {number + 1} ("{name}")'


def digest(tree: Any) -> str:
    """Return 12 hex digits of the hash of a tree that JSON can hold."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:12]
