"""What a backbone must provide. One file in this folder is one backbone; it holds one object called `BACKBONE`.

A backbone is a frozen network that metrics look through. Metrics ask for a role, and `_resolve.ROLES` says which
backbone plays it. What it saw can be trusted only together with what it is, so a loaded one carries its name, version
and the SHA-256 of its weights into every result.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8

Frames = UInt8[np.ndarray, "f h w 3"]


@dataclass(frozen=True)
class Identity:
    """What a loaded backbone is."""

    name: str
    version: str
    """Changes whenever the same weights and frames give other features."""
    preprocessing: str
    """What happens to a frame before the network, in a few words; part of the key of stored features."""
    sha256: str
    """Of the weights."""

    def __str__(self) -> str:
        """Return the form that results carry: "nano_frames 1 (sha256 0123456789ab)"."""
        return f"{self.name} {self.version} (sha256 {self.sha256[:12]})"


@runtime_checkable
class Eye(Protocol):
    """A loaded backbone of any kind."""

    @property
    def identity(self) -> Identity:
        """What it is."""
        ...


@runtime_checkable
class FrameEye(Eye, Protocol):
    """Kind "frames"."""

    def frames(self, frames: Frames) -> Float[np.ndarray, "f d"]:
        """Return one vector a frame."""
        ...


@runtime_checkable
class VideoEye(Eye, Protocol):
    """Kind "video"."""

    @property
    def least_frames(self) -> int:
        """A video of fewer frames cannot be looked at (see `too_short`)."""
        ...

    def video(self, frames: Frames) -> Float[np.ndarray, " d"]:
        """Return one vector for the whole video.

        Raises:
            MetricError: fewer frames than `least_frames`.
        """
        ...


@runtime_checkable
class BatchVideoEye(VideoEye, Protocol):
    """A `VideoEye` that takes several videos at once, which is faster on a GPU."""

    @property
    def at_once(self) -> int:
        """Videos that are worth giving at once on its device; 1 where they are as fast one by one."""
        ...

    def videos(self, videos: Sequence[Frames]) -> Float[np.ndarray, "n d"]:
        """Return one vector for each video; all have the same number of frames, their sizes may differ.

        Raises:
            MetricError: fewer frames than `least_frames`.
        """
        ...


@runtime_checkable
class ClipEye(Eye, Protocol):
    """Kind "clip": images and text in one space."""

    def images(self, frames: Frames) -> Float[np.ndarray, "f d"]:
        """Return one vector a frame, not normalised."""
        ...

    def text(self, caption: str) -> Float[np.ndarray, " d"]:
        """Return the vector of a caption, not normalised."""
        ...


@runtime_checkable
class PairEye(Eye, Protocol):
    """Kind "pair"."""

    def distances(self, a: Frames, b: Frames) -> Float[np.ndarray, " f"]:
        """Return the distance of each frame of `a` to the same frame of `b`, 0 and up."""
        ...


def too_short(eye: Eye, frames: int) -> str:
    """Return why a video of so many frames cannot be looked at, or ""."""
    least = getattr(eye, "least_frames", 1)
    return f"{frames} frames; {eye.identity.name} needs at least {least}" if frames < least else ""


@dataclass(frozen=True)
class HubFile:
    """One file on the hub, known by its sum, so that it does not matter who keeps the copy."""

    repo: str
    """Hub id, owner/name."""
    revision: str
    """Commit, or "main" where only the sum was to be found."""
    path: str
    """Inside the repository."""
    sha256: str


@dataclass(frozen=True)
class Backbone:
    """A frozen network that is not loaded yet."""

    name: str
    kind: str
    """What it can do: "frames" (`FrameEye`), "video" (`VideoEye`), "clip" (`ClipEye`) or "pair" (`PairEye`)."""
    licence: str
    """Of the weights."""
    source: str
    load: Callable[[Path | None, torch.device], Eye]
    """(weights, or None for those in the package or on the hub; device) -> the network, in eval mode and frozen.

    Raises:
        WeightsError: the weights are missing, damaged or do not fit, or the hub cannot be reached.
    """
    hub: str = ""
    """Hub id `owner/name@revision` of the weights where nobody gives a path; "" where only a path will do."""
    files: tuple[HubFile, ...] = ()
    """The same where weights are single files and not a whole repository."""
    obtain: str = ""
    """In one sentence, where the weights are to be had; needed where the hub has no copy."""
    random: Callable[[torch.device], Eye] | None = None
    """The same network on seeded random weights, for tests and benchmarks; its identity's name ends in "random"."""
