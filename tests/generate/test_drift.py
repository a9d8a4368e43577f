"""Colours along a chain: casts are taken out, scenes are left alone."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from cinetune.footage.procedural import render_clip
from cinetune.generate import drift
from cinetune.generate.expansion import make_shot, plan_windows
from cinetune.generate.window import Frames, Window
from cinetune.metrics import _grade
from cinetune.ops.video import deepen, to_shallow
from cinetune.records import read_records, write_records

DAY = render_clip("day", seed=3, frames=17).frames
CAST = np.array([[0.93, 0.02, 0.0], [0.0, 0.95, 0.01], [0.01, 0.0, 0.9]])
ADDED = np.array([0.03, 0.01, 0.035])


def cast(frames: Frames) -> Frames:
    return np.rint(65535 * np.clip(frames / 65535 @ CAST.T + ADDED, 0, 1)).astype(np.uint16)


def muted(frames: np.ndarray) -> Frames:
    """Neither black nor white, so that no cast is clipped."""
    return np.rint(65535 * (0.15 + 0.7 * frames / 255)).astype(np.uint16)


def levels(a: Frames, b: Frames) -> float:
    return float(np.abs(a.astype(float) - b).mean()) / 257


def test_a_correction_of_saturation_in_closed_form() -> None:
    red = np.array([65535, 0, 0], np.uint16).reshape(1, 1, 1, 3)
    (out,) = drift.apply(red, drift.Correction(gain=(1.0, 0.5, 0.5)).map[None]).reshape(1, 3) / 65535
    assert out == pytest.approx([0.2126 + 0.5 * (1 - 0.2126), 0.5 * 0.2126, 0.5 * 0.2126], abs=1e-4)
    same = muted(DAY)
    assert np.array_equal(drift.apply(same, np.repeat(drift.Correction().map[None], 17, axis=0)), same)


def test_a_known_cast_is_taken_out_of_the_whole_window() -> None:
    true = muted(DAY)
    seen = cast(true)
    out, found = drift.correct(true[:5], seen, reference=true[:1], anchor=0.0)
    assert found.reason == ""
    assert levels(seen, true) > 3
    assert levels(out, true) < 0.8
    grades = [_grade.grade(to_shallow(frames)) for frames in (true, seen, out)]
    assert _grade.distance(grades[0], grades[1]) > 2
    assert _grade.distance(grades[0], grades[2]) < 0.6


def test_lost_texture_is_no_cast() -> None:
    true = muted(DAY)
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in true])
    found = drift.fit(true[:5], soft[:5])
    assert np.abs(np.array(found.gain) - 1).max() < 0.05
    assert np.abs(found.shift).max() * 255 < 0.5


def test_what_moved_otherwise_does_not_count() -> None:
    true = muted(DAY)
    seen = cast(true)
    seen[:, 16:40, 16:40] = 60000
    out, found = drift.correct(true[:5], seen, reference=true[:1], anchor=0.0)
    assert found.reason == ""
    assert levels(out[:, 40:], true[:, 40:]) < 1


def test_another_scene_is_left_as_it_is() -> None:
    true, other = muted(DAY), muted(render_clip("noir", seed=5, frames=17).frames)
    out, found = drift.correct(true[:5], other, reference=true[:1], anchor=0.5)
    assert np.array_equal(out, other)
    assert "levels in more than colours" in found.reason or "another scene" in found.reason


def test_a_cut_within_a_window_is_left_as_it_is() -> None:
    true, other = muted(DAY), muted(render_clip("noir", seed=5, frames=17).frames)
    window = np.concatenate([true[:5], other[5:]])
    out, found = drift.correct(true[:5], window, reference=true[:1], anchor=0.5)
    assert np.array_equal(out, window)
    assert found.shift == pytest.approx((0, 0, 0))


def test_the_anchor_sets_in_without_a_step() -> None:
    true = np.repeat(muted(DAY[:1]), 17, axis=0)
    window = true.copy()
    window[5:] = cast(true[5:])
    out, _ = drift.correct(true[:5], window, reference=true[:1], anchor=0.5)
    assert np.array_equal(out[:5], window[:5])
    apart = np.array([levels(a, b) for a, b in zip(out[5:], window[5:], strict=True)])
    assert np.diff(apart) == pytest.approx(apart[0], abs=0.15)
    assert apart[0] < 0.5
    assert levels(out[-1:], true[-1:]) == pytest.approx(levels(window[-1:], true[-1:]) / 2, rel=0.2)


def test_a_window_told_its_end_ends_in_those_colours() -> None:
    true = muted(DAY)
    out, _ = drift.correct(true[:1], cast(true), reference=true[:1], anchor=0.5, end=true[-1])
    assert levels(out[:1], true[:1]) < 0.8
    assert levels(out[-1:], true[-1:]) < 0.8


def chained(anchor: float | None, overlap: int, told: list[drift.HandOver]) -> Frames:
    def make(window: Window) -> Frames:
        given = window.first[None] if window.known is None else window.known  # type: ignore[index]
        return cast(np.concatenate([given, np.repeat(given[-1:], window.frames - len(given), axis=0)]))

    pieces = make_shot(make, plan_windows(65, 17, overlap), muted(DAY[:1]), "", 0, load=lambda _: None,
                       save=lambda number, frames: frames, anchor=anchor, told=told.append)  # fmt: skip
    return np.concatenate(list(pieces))


@pytest.mark.parametrize("overlap", [1, 5])
def test_a_chain_that_adds_a_cast_at_every_hand_over(overlap: int) -> None:
    told: list[drift.HandOver] = []
    plain, held = chained(None, overlap, []), chained(0.5, overlap, told)
    moved = levels(plain[-1:], muted(DAY[:1]))
    assert moved > 10
    # the cast mixes R', G' and B' in a way that gains of Y', Cb and Cr cannot undo: a rest remains and adds up
    assert levels(held[-1:], muted(DAY[:1])) < moved / 4
    assert min(over.cast for over in told) > 2
    assert max(over.left for over in told) < 1
    assert [over.start for over in told] == [span.start for span in plan_windows(65, 17, overlap)]


def test_drift_is_the_distance_of_seconds() -> None:
    frames = np.concatenate([muted(DAY)[:10], cast(muted(DAY))[:12]])
    grades = drift.Grades()
    for start in range(0, 22, 7):
        grades.add(frames[start : start + 7])
    found = grades.drift("shot-1", 10.0)
    seconds = [_grade.grade(to_shallow(frames[a : a + 10])) for a in (0, 10, 12)]
    assert found.seconds == pytest.approx([_grade.distance(seconds[1], seconds[0])], abs=1e-4)
    assert found.last == pytest.approx(_grade.distance(seconds[2], seconds[0]), abs=1e-4)
    short = drift.Grades()
    short.add(deepen(DAY))
    assert short.drift("shot-1", 10.0).last is None


def test_records(tmp_path: Path) -> None:
    told: list[drift.HandOver] = []
    chained(0.5, 5, told)
    write_records(tmp_path / "handovers.jsonl", told)
    assert read_records(tmp_path / "handovers.jsonl", drift.HandOver) == told
