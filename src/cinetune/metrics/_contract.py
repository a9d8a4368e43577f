"""What a metric must provide. One file in this folder is one metric; it holds one object called `METRIC`.

A metric has two halves. Its `look` is the slow half: one pass over one video, through a backbone or not, whose
features are kept on disk by content, so that no video is looked at twice the same way. Its `score` is the pure
half: features in, number out. A number that cannot be computed is None with a reason, never 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Integer, UInt8

from cinetune.ops.frechet import Gaussian

Frames = UInt8[np.ndarray, "f h w 3"]
Features = dict[str, Float[np.ndarray, "..."]]
Positions = Integer[np.ndarray, " _"]
Pulls = tuple[Float[np.ndarray, " _"], Float[np.ndarray, " _"]]
"""One number for each video of the left set, and of the right."""


@dataclass(frozen=True)
class Item:
    """What there is to look at: one video, and what belongs to it."""

    frames: Frames
    reference: UInt8[np.ndarray, "_f _h _w 3"] | None
    """The true continuation, or None where there is none. Frame 0 is the same moment in both: it was given."""
    caption: str
    """What the video should show, or "" where nobody said."""


@dataclass(frozen=True)
class Measured:
    """A number, or None and the reason why there is none."""

    value: float | None
    reason: str = ""


@dataclass(frozen=True)
class Look:
    """One way to look at a video. Metrics that share a look share its one pass and its stored features."""

    name: str
    version: str
    """Changes whenever the same video gives other features; stored ones are then not used again."""
    backbone: str | None
    """Role of the network it looks through (see `backbones._resolve.ROLES`), or None."""
    features: Callable[[Item, Any], Features]
    """(item, loaded backbone of that role or None) -> named arrays."""
    pair: bool = False
    """Looks at `item.reference` too."""
    caption: bool = False
    """Reads `item.caption` where there is one."""
    many: Callable[[Sequence[Item], Any], list[Features]] | None = None
    """The same for several items of as many frames each, where the network is a `BatchVideoEye`."""

    def obstacle(self, item: Item) -> str:
        """Return why this item cannot be looked at, or ""."""
        if not self.pair:
            return ""
        if item.reference is None:
            return "there is no true continuation to compare with"
        if item.frames.shape != item.reference.shape:
            own, true = ("x".join(map(str, video.shape[:3])) for video in (item.frames, item.reference))
            return f"the video is {own} (frames x height x width), its reference {true}; give equal sizes"
        if len(item.frames) < 2:
            return "a single frame: frame 0 was given and is not compared"
        return ""


@dataclass(frozen=True)
class Comparison:
    """The features of many videos, made ready to compare any two subsets of them many times."""

    distance: Callable[[Positions, Positions], float]
    """(positions of the generated, positions of the real) -> number; ValueError where they are too few."""
    caution: Callable[[int], str]
    """Number of videos in the smaller set -> what to keep in mind at that number, or ""."""
    pulls: Callable[[Positions, Positions], Pulls | None] = lambda left, right: None
    """(the same) -> how much the distance moves, to first order, for each relative change of a video's weight; None
    where the sets are small enough to leave out every cluster in turn. Each set's numbers sum to zero."""
    moments: "Moments | None" = None
    """Of a metric that compares mean and covariance alone (`SetMetric.moments`)."""


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of sets, and their comparison with those of a set that is not at hand."""

    of: Callable[[Positions], Gaussian]
    """Positions -> the mean and covariance of all vectors of these videos; ValueError where they are too few."""
    count: Callable[[Positions], int]
    """Positions -> number of these vectors."""
    against: Callable[[Gaussian], Comparison]
    """A Gaussian -> the comparison in which it stands for the real videos, whatever positions are given of these."""


@dataclass(frozen=True)
class Card:
    """What a reader must know before trusting a number. The page and the documentation print it."""

    measures: str
    """One sentence: what the number is, in plain words."""
    caveats: str
    """One or two sentences: what it rewards wrongly, what it depends on."""
    blind: tuple[str, ...] = ()
    """Distortions of `ops.video_distortions` it does not see, or takes for an improvement; a test checks the rest."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric: an `ItemMetric`, a `CorpusMetric` or a `SetMetric`."""

    name: str
    version: str
    """Changes whenever the same videos give another number."""
    unit: str
    better: Literal["lower", "higher", "neither"]
    least: int
    """Clips (or scenes, where these are known) below which there is no interval."""
    source: str
    """Paper and equation, or repository and path."""
    card: Card
    look: Look

    @property
    def backbone(self) -> str | None:
        """Role of the network the metric looks through, or None."""
        return self.look.backbone


@dataclass(frozen=True, kw_only=True)
class ItemMetric(Metric):
    """A number for one video: by itself ("video") or against its true continuation ("pair")."""

    kind: Literal["pair", "video"]
    score: Callable[[Features], Measured]


@dataclass(frozen=True, kw_only=True)
class CorpusMetric(Metric):
    """A number for one video against all videos that the model was trained on."""

    kind: Literal["corpus"] = "corpus"
    score: Callable[[Features, Sequence[Features]], Measured]
    """(features of the video, features of every training video) -> number."""


@dataclass(frozen=True, kw_only=True)
class SetMetric(Metric):
    """A number for two sets of videos."""

    kind: Literal["set"] = "set"
    score: Callable[[Sequence[Features], Positions], Comparison]
    """(features of every video of either set, cluster of each) -> what compares subsets of them.

    Videos of one cluster are not independent draws (see `ops.distances.mmd`)."""
    moments: bool = False
    """Compares mean and covariance alone, so that published ones can stand for the real videos
    (`Comparison.moments`)."""
