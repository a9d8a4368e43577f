"""What the cards say of distortions holds on real clips."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from cinetune import plugins
from cinetune.footage.procedural import render_clip
from cinetune.footage.video_io import write_video
from cinetune.metrics._contract import CorpusMetric, ItemMetric
from cinetune.ops.video_distortions import KINDS

FILE = Path(__file__).parents[2] / "benchmarks" / "sensitivity.py"
NAMES = [
    name
    for name in plugins.names("metrics")
    if isinstance(plugins.load("metrics", name), ItemMetric | CorpusMetric)
    and name not in ("lpips_vgg", "lpips_squeeze", "rlpips")  # all of nano_lpips, as lpips
]


@pytest.fixture(scope="module")
def sensitivity() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sensitivity", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["sensitivity"] = module  # where dataclasses look for their own module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", plugins.names("metrics"))
def test_a_card_calls_blind_only_what_there_is(name: str, sensitivity: ModuleType) -> None:
    blind = plugins.load("metrics", name).card.blind
    assert set(blind) <= set(sensitivity.DISTORTIONS)
    assert len(set(blind)) == len(blind)


@pytest.mark.parametrize(
    ("name", "values", "moved", "verdict"),
    [
        ("lpips", (0, 1, 2, 3, 4), 9, "sees"),
        ("lpips", (0, 1, 3, 2, 4), 9, "unsteady"),
        ("lpips", (0, 1, 2, 3, 4), 1.9, "blind"),
        ("lpips", (4, 3, 2, 1, 0), -9, "wrong"),
        ("psnr", (np.inf, 40, 30, 20, 10), -9, "sees"),
        ("psnr", (np.inf, 40, 30, 30, 10), -9, "unsteady"),
        ("flicker", (5, 4, 3, 2, 1), -9, "sees"),
        ("flicker", (5, 6, 3, 2, 1), -9, "unsteady"),
    ],
)
def test_verdicts(name: str, values: tuple[float, ...], moved: float, verdict: str, sensitivity: ModuleType) -> None:
    assert sensitivity._verdict(plugins.load("metrics", name), values, moved) == verdict


def test_reencoding_keeps_the_video_and_grows_worse(sensitivity: ModuleType, clips: list[np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    coded = [sensitivity.reencode(clips[0], strength, rng) for strength in (1, 2, 3, 4)]
    errors = [np.abs(video.astype(float) - clips[0]).mean() for video in coded]
    assert errors == sorted(errors)
    assert coded[0].shape == clips[0].shape
    assert set(sensitivity.DISTORTIONS) == {*KINDS, "reencode"}


def test_short_clips_are_all_there_are(sensitivity: ModuleType, tmp_path: Path) -> None:
    for domain in (*sensitivity.DOMAINS, *sensitivity.MORE):
        film = render_clip("day", seed=0, frames=40, height=48, width=72).frames
        write_video(tmp_path / domain / "film.mkv", film, 16.0, lossless=True)
    measured, others = sensitivity.every_clip(tmp_path, 6)
    assert len(measured) == len(others) == 6, "three windows of 12 in the 38 frames that are not beside a cut"
    assert {clip.domain for clip in measured} == {*sensitivity.DOMAINS, *sensitivity.MORE}
    assert all(len(clip.frames) == 12 and len(clip.measured) == 6 for clip in (*measured, *others))
    assert set(sensitivity.SHORT) <= set(plugins.names("metrics"))


@pytest.mark.slow
def test_every_metric_sees_what_its_card_does_not_call_blind(sensitivity: ModuleType, shared: Path) -> None:
    """The study of docs/sensitivity.md without sets and published networks."""
    measured, others = sensitivity.clips(shared / "footage", 8)
    subjects = sensitivity.subjects_of(NAMES, None)
    sensitivity.study(subjects, measured, others, list(sensitivity.DISTORTIONS))
    wrong = [
        f"{subject.metric.name} {found.verdict} at {found.kind}: {found.values}"
        for subject in subjects
        for found in subject.findings
        if found.verdict != "sees" and found.kind not in subject.metric.card.blind
    ]
    assert wrong == []
