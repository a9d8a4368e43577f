"""Recipe, section footage."""

import re
from collections import Counter
from typing import NamedTuple

from pydantic import Field, model_validator

from cinetune.recipe.section import Section


class Size(NamedTuple):
    """The shape of a clip."""

    frames: int
    height: int
    """Pixels."""
    width: int
    """Pixels."""

    def __str__(self) -> str:
        """As a recipe writes it, such as 33x480x832."""
        return "x".join(map(str, self))


class Footage(Section):
    """How films become clips."""

    frames: int = Field(33, ge=5, le=161)
    """Frames of one clip; 4n + 1, because the video VAE packs four frames into one latent."""
    height: int = Field(480, ge=32, le=2160)
    """Pixels; a multiple of 16 (VAE factor 8 times patch 2). Footage is scaled to cover, then centre-cropped."""
    width: int = Field(832, ge=32, le=3840)
    """Pixels; a multiple of 16."""
    buckets: tuple[str, ...] = ()
    """More sizes to train on, as FRAMESxHEIGHTxWIDTH ("81x480x832", "33x832x480"); one of 1 frame takes still pictures.
    A shot goes to the size that fits it (`footage/buckets.py`); held-out clips always have the size above."""
    fps: float = Field(16.0, gt=0, le=120)
    """Frames per second of a clip; frames are chosen by timestamp, so speed stays real."""
    stride: float = Field(1.0, gt=0, le=4)
    """Distance of two windows of one shot, in window lengths: 1 = side by side, 0.5 = half overlapping."""
    held_out: float = Field(0.25, gt=0, lt=0.9)
    """Share of the scenes that is never trained on; half of it steers early stopping, half is the test set."""
    max_clips: int = Field(2000, ge=4)
    """At most this many windows; more are thinned evenly over the films."""
    max_test: int = Field(24, ge=2)
    """At most this many test clips, spread evenly over their scenes: each costs one video an arm."""

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The size of held-out clips, then the buckets."""
        return Size(self.frames, self.height, self.width), *map(_size, self.buckets)

    def at(self, size: Size) -> "Footage":
        """Return these settings for clips of one size alone."""
        return self.model_copy(update={**size._asdict(), "buckets": ()})

    @model_validator(mode="after")
    def _legal(self) -> "Footage":
        if self.frames % 4 != 1:
            raise ValueError(f"frames must be 4n + 1, such as {self.frames // 4 * 4 + 1}, got {self.frames}")
        for name in ("height", "width"):
            size = getattr(self, name)
            if size % 16:
                raise ValueError(f"{name} must be a multiple of 16, such as {size // 16 * 16}, got {size}")
        for text in self.buckets:
            _check(text)
        twice = [str(size) for size, count in Counter(self.sizes).items() if count > 1]
        if twice:
            raise ValueError(f"buckets: {twice[0]} is there twice (frames, height and width are a size too)")
        return self


def _size(text: str) -> Size:
    return Size(*map(int, text.split("x")))


def _check(text: str) -> None:
    """Raise ValueError unless a bucket is a size in the ranges of the fields above, or of one frame."""
    if not re.fullmatch(r"\d{1,3}x\d{1,4}x\d{1,4}", text):
        raise ValueError(f"buckets: {text!r} is not FRAMESxHEIGHTxWIDTH, such as 33x480x832")
    frames, height, width = _size(text)
    if frames % 4 != 1 or frames > 161:
        raise ValueError(f"buckets: {text}: frames must be 4n + 1 up to 161, or 1 for pictures")
    if height % 16 or width % 16 or not 32 <= height <= 2160 or not 32 <= width <= 3840:
        raise ValueError(f"buckets: {text}: height (32 to 2160) and width (32 to 3840) must be multiples of 16")
