"""Candidates for one keyframe in order: do they show the prompt, have the film's grade, and its sharpness.

Each criterion orders the candidates; the mean of the places is the rank. No criterion outweighs another, and none needs
to be on the scale of another; how far one is before the next does not count. Sharpness within what most of the film has
is as good as any. A criterion that has no number for every candidate is left out, and the record says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from scipy.stats import rankdata

from cinetune.adapters.style import Style
from cinetune.errors import WeightsError
from cinetune.metrics import clip_text, grade, sharpness
from cinetune.metrics._contract import Item, Measured
from cinetune.metrics.backbones._contract import Eye
from cinetune.metrics.backbones._resolve import resolve
from cinetune.recipe import Evaluate

Frame = UInt8[np.ndarray, "h w 3"]
CLIP, SUBJECT = "clip", "frames_dino"
"""Roles of the networks that keyframes and shots are looked at with."""


@dataclass(frozen=True)
class Candidate:
    """One candidate for a keyframe. Written by `generate` to keyframes/candidates.jsonl."""

    shot: str
    number: int
    """From 1, as the contact sheet shows it."""
    text: float | None
    """CLIP-SIM of prompt and picture, cosine; higher is better."""
    grade: float | None
    """Distance to the nearest training clip's grade, CIELAB units; lower is better."""
    sharpness: float | None
    """Grey levels, at the height of the training clips where that is known."""
    sharpness_low: float | None
    """What the training film's own begins at, grey levels; None where it is not known and more counts as better."""
    sharpness_high: float | None
    """What it ends at."""
    rank: float
    """Mean of the places by the criteria that count, 1 = first by all."""
    place: int
    """1 = the best; equal ranks by number."""
    backbone: str
    """The network behind `text`, or ""."""
    reason: str = ""
    """Which criterion is left out, or counts otherwise, and why."""
    schema: int = 1


def load_eyes(section: Evaluate, device: torch.device, published: Mapping[str, Path] | None = None) -> dict[str, Eye]:
    """Load the networks that `rank` (CLIP) and `consistency.look_at` (SUBJECT) look through.

    Raises:
        MetricError, WeightsError: as `resolve`.
    """
    return {
        role: resolve(role, section.weights, published or {}, device, section.precision) for role in (CLIP, SUBJECT)
    }


def rank(shot: str, frames: Sequence[Frame], prompt: str, style: Style, eye: Eye | None) -> list[Candidate]:
    """Return the candidates of a shot in the order of their numbers, with place and scores.

    Args:
        shot: its name.
        frames: the candidates, all of one size.
        prompt: what they should show.
        style: grades and sharpness of the training film, where known.
        eye: the loaded CLIP; None leaves the prompt out.

    Raises:
        WeightsError: the network sees something that is not a number.
    """
    texts = [_text(frame, prompt, eye) for frame in frames]
    grades = [_grade(frame, style) for frame in frames]
    sharp = [_sharpness(frame, style) for frame in frames]
    low, high = style.sharpness if style.sharpness and all(one.value is not None for one in sharp) else (None, None)
    reasons, places = [], []
    for name, measured, sign in (("prompt", texts, -1), ("grade", grades, 1)):
        missing = [one.reason for one in measured if one.value is None]
        if missing:
            reasons.append(f"{name} left out: {missing[0]}")
        else:
            places.append(rankdata([sign * (one.value or 0.0) for one in measured]))
    values = [one.value for one in sharp if one.value is not None]
    if len(values) < len(sharp):
        reasons.append(f"sharpness left out: {next(one.reason for one in sharp if one.value is None)}")
    elif low is None or high is None:
        reasons.append("the training film's sharpness is not known: sharper counts as better")
        places.append(rankdata([-value for value in values]))
    else:
        places.append(rankdata([max(low - value, value - high, 0.0) for value in values]))
    ranks = np.mean(places, axis=0) if places else np.ones(len(frames))
    order = np.argsort(ranks, kind="stable").tolist()
    return [
        Candidate(
            shot, n + 1, texts[n].value, grades[n].value, sharp[n].value, low, high, float(ranks[n]),
            order.index(n) + 1, str(eye.identity) if eye else "", "; ".join(reasons),
        )
        for n in range(len(frames))
    ]  # fmt: skip


def best(candidates: Sequence[Candidate]) -> int:
    """Return the number of the first by place."""
    return min(candidates, key=lambda candidate: candidate.place).number


def _text(frame: Frame, prompt: str, eye: Eye | None) -> Measured:
    if eye is None:
        return Measured(None, "no network to compare prompt and picture with")
    features = clip_text.METRIC.look.features(Item(frame[None], None, prompt), eye)
    if not all(np.isfinite(array).all() for array in features.values()):
        raise WeightsError(
            f"{eye.identity}: sees something that is not a number; its weights are damaged: get them again"
        )
    return clip_text.METRIC.score(features)


def _grade(frame: Frame, style: Style) -> Measured:
    if style.grades is None:
        return Measured(None, "the grade of the training film is not known")
    features = grade.METRIC.look.features(Item(frame[None], None, ""), None)
    return grade.METRIC.score(features, [{"grade": clip} for clip in style.grades])


def _sharpness(frame: Frame, style: Style) -> Measured:
    """At the height of the training clips: the same picture is less sharp, pixel by pixel, the larger it is."""
    height, width = frame.shape[:2]
    if style.sharpness is not None and height < style.height:
        return Measured(None, f"{height} pixels tall, the training clips {style.height}: not comparable")
    if style.sharpness is not None and height > style.height:
        size = (round(width * style.height / height), style.height)
        frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
    return sharpness.METRIC.score(sharpness.METRIC.look.features(Item(frame[None], None, ""), None))
