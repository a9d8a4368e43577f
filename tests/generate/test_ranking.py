from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cinetune.adapters.style import Style
from cinetune.errors import WeightsError
from cinetune.footage.procedural import render_clip
from cinetune.generate.ranking import CLIP, SUBJECT, Candidate, best, load_eyes, rank
from cinetune.metrics import _grade
from cinetune.metrics.backbones._contract import ClipEye, FrameEye
from cinetune.recipe import Evaluate
from cinetune.records import read_records, write_records

HEIGHT, WIDTH = 64, 96


@pytest.fixture(scope="module")
def eye() -> ClipEye:
    eyes = load_eyes(Evaluate(), torch.device("cpu"))
    assert isinstance(eyes[SUBJECT], FrameEye)
    assert isinstance(eyes[CLIP], ClipEye)
    return eyes[CLIP]


@pytest.fixture(scope="module")
def style() -> Style:
    """Of a rendered film by candle light."""
    clips = [render_clip("historical", seed=100 + n, frames=2).frames for n in range(8)]
    edges = [np.std(cv2.Laplacian(cv2.cvtColor(c[0], cv2.COLOR_RGB2GRAY), cv2.CV_32F)) for c in clips]
    usual = (float(min(edges)), float(max(edges)))
    return Style("run", grades=np.stack([_grade.grade(c) for c in clips]), sharpness=usual, height=64)


def keyframe(seed: int = 0) -> tuple[np.ndarray, str]:
    clip = render_clip("historical", seed=seed, frames=1)
    return clip.frames[0], clip.caption


def tinted(frame: np.ndarray) -> np.ndarray:
    return np.asarray((frame * np.array([0.6, 0.8, 1.0])).astype(np.uint8))


def test_a_tinted_a_blurred_and_a_noisy_candidate_come_after_the_film_s_own(eye: ClipEye, style: Style) -> None:
    first = []
    for seed in range(6):
        frame, prompt = keyframe(seed)
        noise = np.random.default_rng(0).normal(0, 30, frame.shape)
        noisy = (frame + noise).clip(0, 255).astype(np.uint8)
        blurred = np.asarray(cv2.GaussianBlur(tinted(frame), (0, 0), 3))
        ranked = rank("quay", [tinted(frame), noisy, frame, blurred], prompt, style, eye)
        assert [c.number for c in ranked] == [1, 2, 3, 4]
        assert sorted(c.place for c in ranked) == [1, 2, 3, 4]
        assert ranked[2].reason == ""
        grades = [c.grade for c in ranked if c.grade is not None]
        assert grades[2] == min(grades)
        first.append(best(ranked) == 3)
    assert sum(first) >= 5  # the miniature's CLIP-SIM of one picture is noisy


def test_rank_is_the_mean_of_the_places_by_each_criterion(eye: ClipEye, style: Style) -> None:
    frame, prompt = keyframe()
    frames = [frame, tinted(frame), np.asarray(cv2.GaussianBlur(frame, (0, 0), 2)), frame[:, ::-1].copy()]
    ranked = rank("quay", frames, prompt, style, eye)
    assert style.sharpness is not None
    low, high = style.sharpness
    lists = [
        [-(c.text or 0) for c in ranked],
        [c.grade or 0 for c in ranked],
        [max(low - (c.sharpness or 0), (c.sharpness or 0) - high, 0) for c in ranked],
    ]
    for n, candidate in enumerate(ranked):
        # Place by one criterion: how many are before, and half of those that are equal.
        places = [1 + sum(v < vs[n] for v in vs) + (sum(v == vs[n] for v in vs) - 1) / 2 for vs in lists]
        assert candidate.rank == pytest.approx(np.mean(places))
        assert candidate.text == pytest.approx(cosine(eye, frames[n], prompt), abs=1e-6)
        assert (candidate.sharpness_low, candidate.sharpness_high) == style.sharpness
        assert candidate.backbone == str(eye.identity)


def cosine(eye: ClipEye, frame: np.ndarray, prompt: str) -> float:
    a, b = eye.images(frame[None])[0], eye.text(prompt)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_equal_candidates_keep_the_order_of_their_numbers(eye: ClipEye, style: Style) -> None:
    frame, prompt = keyframe()
    ranked = rank("quay", [frame, frame, frame], prompt, style, eye)
    assert [(c.place, c.rank) for c in ranked] == [(1, 2.0), (2, 2.0), (3, 2.0)]
    assert rank("quay", [frame], prompt, style, eye)[0].rank == 1.0


def test_what_is_not_known_is_left_out_and_said() -> None:
    frame, prompt = keyframe()
    blurred = np.asarray(cv2.GaussianBlur(frame, (0, 0), 2))
    ranked = rank("quay", [blurred, frame], prompt, Style(), None)
    assert [c.place for c in ranked] == [2, 1]  # by sharpness alone, sharper first
    assert [(c.text, c.grade, c.sharpness_low, c.backbone) for c in ranked] == [(None, None, None, "")] * 2
    for part in ("prompt left out", "grade left out", "sharper counts as better"):
        assert part in ranked[0].reason


def test_no_prompt_and_smaller_than_the_clips(eye: ClipEye, style: Style) -> None:
    frame, _ = keyframe()
    small = np.asarray(cv2.resize(frame, (48, 32), interpolation=cv2.INTER_AREA))
    ranked = rank("quay", [tinted(small), small], "", style, eye)
    assert [(c.text, c.sharpness, c.place) for c in ranked] == [(None, None, 2), (None, None, 1)]
    assert "prompt left out: there is no caption" in ranked[0].reason
    assert "sharpness left out: 32 pixels tall, the training clips 64: not comparable" in ranked[0].reason
    nothing = rank("quay", [small, small], "", Style(sharpness=(1.0, 2.0), height=64), eye)
    assert [c.place for c in nothing] == [1, 2]


def test_sharpness_is_taken_at_the_height_of_the_training_clips(eye: ClipEye, style: Style) -> None:
    frame, prompt = keyframe()
    large = np.repeat(np.repeat(frame, 2, axis=0), 2, axis=1)  # halved by area it is the frame again
    one, two = (rank("quay", [f], prompt, style, eye)[0].sharpness for f in (frame, large))
    assert one == two


def test_damaged_weights_are_one_line(style: Style, eye: ClipEye) -> None:
    class Broken:
        identity = eye.identity

        def images(self, frames: np.ndarray) -> np.ndarray:
            return np.full((len(frames), 4), np.nan)

        def text(self, caption: str) -> np.ndarray:
            return np.ones(4)

    frame, prompt = keyframe()
    with pytest.raises(WeightsError, match="not a number"):
        rank("quay", [frame], prompt, style, Broken())


def test_records_come_back(tmp_path: Path, style: Style, eye: ClipEye) -> None:
    frame, prompt = keyframe()
    ranked = rank("quay", [frame, tinted(frame)], prompt, style, eye)
    write_records(tmp_path / "candidates.jsonl", ranked)
    assert read_records(tmp_path / "candidates.jsonl", Candidate) == ranked
