"""One shot of a storyboard, and the fields that it has in common with the board around it."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from cinetune.errors import FootageError
from cinetune.files import sha256
from cinetune.generate.pictures import read_still
from cinetune.recipe.section import Section

RESTYLING = 0.6
"""Strength where a board says none: more than half way to noise, so that texture, light and grade are the model's,
while enough of the picture is left to hold its layout. Where to start, not a measured best. The trade is that of
Meng et al. 2021, arXiv 2108.01073 (SDEdit)."""
OVERLAP = 5
"""Frames that two windows share where a board says nothing: with them motion is handed on, and not a picture alone."""
NO_NAME = r"""[\x00-\x1f/\\:*?"<>|]"""
"""What some file system does not take in a name."""
ROLES = {"still": "keyframe", "reference": "reference", "last": "last frame"}


class Picture(Section):
    """A picture of a board, which could be read when the board was."""

    path: Path
    sha256: str
    """Of the file's bytes, 64 hex digits."""


def _picture(value: Any, info: Any) -> Any:
    """What a board says of a picture: a path, from the folder of the board; `info` is a ValidationInfo of pydantic."""
    if not isinstance(value, str):
        return value
    path = (info.context or {}).get("folder", Path()) / value
    if not path.is_file():
        raise ValueError(f"missing {ROLES[str(info.field_name)]}: there is no file {path}; check the path, "
                         "which is taken from the folder of the board")  # fmt: skip
    try:
        read_still(path)
    except FootageError as error:
        raise ValueError(str(error)) from None
    return {"path": path, "sha256": sha256(path)}


def _4n_plus_1(frames: int) -> int:
    below = (frames - 1) // 4 * 4 + 1
    if frames != below:
        raise ValueError(f"{frames} is not 4n + 1, which the model's frames are; give {below} or {below + 4}")
    return frames


def _side(pixels: int) -> int:
    below = pixels // 16 * 16
    if pixels != below:
        raise ValueError(f"{pixels} is not a multiple of 16; give {below} or {below + 16}")
    return pixels


Source = Annotated[Picture, BeforeValidator(_picture)]
Height = Annotated[int, Field(ge=32, le=2160), AfterValidator(_side)]
Width = Annotated[int, Field(ge=32, le=3840), AfterValidator(_side)]
Fps = Annotated[float, Field(gt=0, le=120)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Steps = Annotated[int, Field(ge=1, le=1000)]
Guidance = Annotated[float, Field(ge=1)]
Shift = Annotated[float, Field(gt=0)]
Window = Annotated[int, Field(ge=5, le=1001), AfterValidator(_4n_plus_1)]
Overlap = Annotated[int, Field(ge=1), AfterValidator(_4n_plus_1)]
Anchor = Annotated[float, Field(ge=0, le=1)] | Literal["off"]


class Sampling(Section):
    """How the network is sampled; None is what is usual."""

    steps: Steps | None = None
    """Sampler steps."""
    guidance: Guidance | None = None
    """Classifier-free guidance; 1 = off, half the time."""
    shift: Shift | None = None
    """Shift of the noise levels."""
    window: Window | None = None
    """Frames of one sampling, 4n + 1."""
    overlap: Overlap | None = None
    """Frames that a window shares with the one before: 1, or 4n + 1 below `window`; None is OVERLAP, or 1 where the
    window is no longer than that."""
    anchor: Anchor | None = None
    """How much of the way back to the colours of the first frame is gone in each window, 0..1; "off" leaves all colours
    as they come; None is `drift.ANCHOR`."""

    @model_validator(mode="after")
    def _fits(self) -> "Sampling":
        if self.window is not None and self.overlap is not None and self.overlap >= self.window:
            raise ValueError(f"an overlap of {self.overlap} frames leaves nothing new in a window of {self.window}")
        return self


class Shot(Section):
    """What is seen between two cuts."""

    name: str
    """Its files are called so; default shot-1, shot-2, ..."""
    prompt: str
    """What is to be seen."""
    still: Source | None = None
    """A picture that is the first frame, as it is."""
    reference: Source | None = None
    """A picture that the model restyles; the result is the first frame."""
    after: Literal["previous"] | None = None
    """The shot begins where the one before it ends."""
    last: Source | None = None
    """A picture that is the last frame."""
    seconds: Annotated[float, Field(gt=0, le=3600)] | None = None
    """Length; any number, the last window is cut to it."""
    frames: Annotated[int, Field(ge=1), AfterValidator(_4n_plus_1)] | None = None
    """Length in frames, 4n + 1; instead of `seconds`."""
    seed: Seed | None = None
    """None: from the board's seed and the shot's name (`Board.seed_of`)."""
    strength: Annotated[float, Field(ge=0, le=1)] | None = None
    """Of the restyling of `reference`: 0 leaves it as it is, 1 leaves nothing of it; None is RESTYLING."""

    @model_validator(mode="after")
    def _agrees(self) -> "Shot":
        if re.search(NO_NAME, self.name) or self.name != self.name.strip(" .") or not 0 < len(self.name) <= 80:
            raise ValueError(
                f"the name {self.name!r} cannot be that of a file; give letters, digits, - and _, up to 80"
            )
        if not self.prompt.strip():
            raise ValueError("the prompt is empty; say what is to be seen")
        begins = [key for key in ("still", "reference", "after") if getattr(self, key) is not None]
        if len(begins) > 1:
            raise ValueError(f"two beginnings, {' and '.join(begins)}; keep one")
        if (self.seconds is None) == (self.frames is None):
            raise ValueError(f"{'no length' if self.frames is None else 'two lengths'}; give seconds or frames")
        if self.strength is not None and self.reference is None:
            raise ValueError("strength is that of restyling `reference`, and there is none; leave strength out")
        return self


class ResolvedSampling(Sampling):
    """Nothing left open."""

    steps: Steps
    guidance: Guidance
    shift: Shift
    window: Window
    overlap: Overlap
    anchor: Anchor


class ResolvedShot(Shot):
    """Nothing left open; `strength` is there where `reference` is."""

    seed: Seed
