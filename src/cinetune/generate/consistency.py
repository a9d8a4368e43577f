"""How alike the keyframes, or the shots, of a film are: costume and subject, light, and grade, between every two.

Neither more nor less is better: a film has its own spread, and the training film's is the yardstick where it is known.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from cinetune.errors import WeightsError
from cinetune.files import write_text
from cinetune.metrics import _dino, _grade, sharpness
from cinetune.metrics._contract import Item
from cinetune.metrics.backbones._contract import Eye
from cinetune.ops.set_intervals import jackknife
from cinetune.records import Result

BINS = 400
"""Of lightness, each a quarter of a unit of L*."""
GENERATED, TRAINING = "generated", "training"
"""Arms of the results: the film that was made, and the film that the adapter was trained on."""

Frames = UInt8[np.ndarray, "f h w 3"]
Pairs = Float[np.ndarray, "n n"]


@dataclass(frozen=True, eq=False)
class View:
    """What is seen of one shot, or of its keyframe."""

    name: str
    subject: Float[np.ndarray, " d"] | None
    """Unit vector of the mean of the network's answers; None without a network, or where it has none."""
    light: Float[np.ndarray, " 400"]
    """Shares of the pixels by lightness, L* 0..100."""
    grade: Float[np.ndarray, "2 3"]
    """Mean and deviation of L*, a*, b*."""
    sharpness: float
    """Grey levels (`metrics/sharpness.py`)."""


@dataclass(frozen=True)
class Criterion:
    """One way to compare two shots."""

    metric: str
    title: str
    unit: str
    alike: int
    """+1 where more is more alike, -1 where less is."""
    network: bool
    """Whether it compares what the network saw."""
    compare: Callable[[View, View], float]
    source: str


@dataclass(frozen=True, eq=False)
class Consistency:
    """All comparisons of a film's shots."""

    shots: tuple[str, ...]
    pairs: dict[str, Pairs | None]
    """By the metric's name."""
    results: list[Result]
    """Arm "generated", and "training" where the training film is at hand."""

    def sentences(self) -> list[str]:
        """Return one plain sentence for each criterion."""
        return [_sentence(criterion, self) for criterion in CRITERIA]

    def of(self, metric: str, arm: str) -> Result | None:
        """Return one result, or None where that film was not measured."""
        return next((r for r in self.results if r.metric == metric and r.arm == arm), None)

    def write(self, path: Path) -> None:
        """Write all of it as one JSON object, with the sentences."""
        pairs = {name: None if matrix is None else np.round(matrix, 6).tolist() for name, matrix in self.pairs.items()}
        tree = {
            "schema": 1, "shots": self.shots, "sentences": self.sentences(),
            "pairs": pairs,
            "results": [dataclasses.asdict(result) for result in self.results],
            "sources": {criterion.metric: criterion.source for criterion in CRITERIA},
        }  # fmt: skip
        write_text(path, json.dumps(tree, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def look_at(name: str, frames: Frames, eye: Eye | None) -> View:
    """Look at one shot, or at its keyframe as a single frame; a few frames of a long shot do.

    Args:
        name: of the shot.
        frames: some of its frames.
        eye: the loaded network that tells subjects apart (role `ranking.SUBJECT`); None leaves them out.

    Raises:
        WeightsError: the network sees something that is not a number.
    """
    item, subject = Item(frames, None, ""), None
    if eye is not None:
        features = _dino.LOOK.features(item, eye)
        mean = features["frames"].astype(np.float64).mean(axis=0)
        if not np.isfinite(mean).all():
            raise WeightsError(
                f"{eye.identity}: sees something that is not a number; its weights are damaged: get them again"
            )
        length = float(np.linalg.norm(mean))
        subject = mean / length if length > 0 else None
    edges = sharpness.METRIC.score(sharpness.METRIC.look.features(item, None)).value
    assert edges is not None
    return View(name, subject, _lightness(frames), _grade.grade(frames), edges)


def consistency(
    shots: Sequence[View], film: Sequence[View] = (), *, eye: Eye | None, level: float = 0.95, seed: int = 0
) -> Consistency:
    """Compare every two shots, and every two of the training film's own.

    Args:
        shots: of the film that was made, in its order.
        film: some shots of the training film (`training.views`); none where it is not at hand.
        eye: the network that all were looked at with, for its name.
        level: coverage of the intervals, 0..1.
        seed: of the grouping of the jackknife, where there are more than a hundred shots.
    """
    network = str(eye.identity) if eye else ""
    pairs: dict[str, Pairs | None] = {}
    results = []
    for criterion in CRITERIA:
        for arm, views in ((GENERATED, shots), (TRAINING, film)):
            if arm == TRAINING and not views:
                continue
            matrix, why = _matrix(criterion, views, eye)
            results.append(_result(criterion, arm, matrix, why, len(views), network, level, seed))
            if arm == GENERATED:
                pairs[criterion.metric] = matrix
    return Consistency(tuple(view.name for view in shots), pairs, results)


def _cosine(a: View, b: View) -> float:
    assert a.subject is not None
    assert b.subject is not None
    return float(a.subject @ b.subject)


def _light(a: View, b: View) -> float:
    """Return the mean way that lightness has to go from one distribution to the other, units of L*."""
    return float(np.abs(np.cumsum(a.light - b.light)).sum() * 100 / BINS)


CRITERIA = (
    Criterion("shots_subject", "costume and subject", "cosine", 1, True, _cosine,
              "VBench (Huang et al. 2024), subject consistency, here between shots: unit vectors of a shot's mean"),
    Criterion("shots_light", "light", "units of L*", -1, False, _light,
              "Wasserstein-1 distance of the distributions of lightness (Vallender 1974)"),
    Criterion("shots_grade", "grade", "CIELAB units", -1, False, lambda a, b: _grade.distance(a.grade, b.grade),
              "as the metric grade; Reinhard et al. 2001"),
)  # fmt: skip


def _lightness(frames: Frames) -> Float[np.ndarray, " 400"]:
    counts = np.zeros(BINS)
    for frame in frames:
        lightness = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[..., 0]
        counts += np.histogram(lightness, BINS, (0, 100.001))[0]  # white is 100 up to the last bit
    return np.asarray(counts / counts.sum())


def _matrix(criterion: Criterion, views: Sequence[View], eye: Eye | None) -> tuple[Pairs | None, str]:
    if criterion.network:
        if eye is None:
            return None, "no network to tell subjects apart"
        if any(view.subject is None for view in views):
            return None, _dino.NOTHING
    return np.array([[criterion.compare(a, b) for b in views] for a in views]).reshape(len(views), len(views)), ""


def _result(
    criterion: Criterion, arm: str, matrix: Pairs | None, why: str, n: int, network: str, level: float, seed: int
) -> Result:
    estimate, low, high = None, None, None
    if matrix is not None and n < 2:
        why = "one shot has no other to compare with"
    elif matrix is not None:

        def mean(keep: Bool[np.ndarray, " n"]) -> float:
            kept = matrix[np.ix_(keep, keep)]
            return float(kept[np.triu_indices(len(kept), 1)].mean())

        estimate = mean(np.ones(n, bool))
        if n > 2:
            ends = jackknife(mean, np.arange(n), level=level, seed=seed)
            least, most = (-1.0, 1.0) if criterion.network else (0.0, math.inf)
            low, high = max(ends.low, least), min(ends.high, most)
        else:
            why = "no interval from 2 shots; 3 would do"
    backbone = network if criterion.network else ""
    return Result(criterion.metric, "1", arm, "set", "neither", estimate, low, high, level, n, criterion.unit, backbone,
                  seed, reason=why)  # fmt: skip


def _sentence(criterion: Criterion, made: Consistency) -> str:
    own, film = made.of(criterion.metric, GENERATED), made.of(criterion.metric, TRAINING)
    assert own is not None
    if own.estimate is None:
        return f"{criterion.title}: not computed ({own.reason})"
    said = f"{criterion.title}: {_number(own)} between {own.n} shots"
    matrix = made.pairs[criterion.metric]
    if own.n > 2 and matrix is not None:
        others = (matrix.sum(axis=1) - np.diag(matrix)) * criterion.alike
        said += f", {made.shots[int(others.argmin())]} the least like the others"
    if film is None or film.estimate is None:
        return f"{said}; the training film's own is not known{f' ({film.reason})' if film else ''}"
    return f"{said}; the training film's own {film.n} shots {_number(film)}: {_verdict(criterion, own, film)}"


def _number(result: Result) -> str:
    interval = "" if result.low is None else f" [{result.low:.3g}, {result.high:.3g}]"
    return f"{result.estimate:.3g} {result.unit}{interval}"


def _verdict(criterion: Criterion, own: Result, film: Result) -> str:
    """Whether two independent estimates differ by more than both intervals leave open."""
    if None in (own.low, own.high, film.low, film.high):
        return "too few shots to say more"
    halves = [(r.high - r.low) / 2 for r in (own, film)]  # type: ignore[operator]
    difference = (own.estimate - film.estimate) * criterion.alike  # type: ignore[operator]
    if abs(difference) <= math.hypot(*halves):
        return "no difference to be seen"
    return "more alike than the film's own" if difference > 0 else "less alike than the film's own"
