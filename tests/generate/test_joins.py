"""Jumps where windows meet."""

from pathlib import Path

import numpy as np
import pytest

from cinetune.generate.expansion import Span, make_shot, plan_windows
from cinetune.generate.joins import Join, Seen, Steps, find_joins, judge
from cinetune.generate.window import Frames, Window
from cinetune.metrics import _motion
from cinetune.ops.video import deepen
from cinetune.records import read_records, write_records

SPANS = {overlap: plan_windows(65, 17, overlap) for overlap in (1, 5)}


def steps(seed: int, frames: int = 65) -> np.ndarray:
    return np.random.default_rng(seed).uniform(1, 3, frames - 1)


def test_steps_are_those_of_the_metric() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)
    found = Steps()
    found.add(deepen(frames)[:4])
    found.add(deepen(frames)[4:])
    assert found.values == pytest.approx(_motion.steps(frames).tolist())


@pytest.mark.parametrize(("overlap", "place"), [(1, 16), (5, 11), (5, 16)])
def test_a_jump_is_found_where_it_is(overlap: int, place: int) -> None:
    values = steps(0)
    values[place] = 9.0
    film = [Seen("one", 0.0, 16, SPANS[overlap], values), Seen("two", 65 / 16, 16, SPANS[overlap], steps(1))]
    found = find_joins(film)
    assert len(found) == sum(len(seen.spans) - 1 for seen in film)
    jump = found[0]
    assert (jump.shot, jump.window, jump.difference, jump.percentile) == ("one", 1, 9.0, 100.0)
    assert jump.above
    others = np.concatenate([seen.values[seen.free] for seen in film])
    assert jump.limit == np.percentile(others, 95)
    assert jump.time == 17 / 16
    assert str(jump).startswith("one, 0:01.1: 9.0 levels, a jump: above the 95th percentile")
    assert jump.around is not None
    assert 1 < jump.around < 3


@pytest.mark.parametrize("overlap", [1, 5])
def test_a_difference_outside_of_joins_is_no_join(overlap: int) -> None:
    """The differences next to a hand-over on either side do not count."""
    span = SPANS[overlap][1]
    for place in (span.start - 1 - (overlap > 1), span.start + span.overlap):
        values = np.ones(64)
        values[place] = 9.0
        assert {join.difference for join in find_joins([Seen("one", 0.0, 16, SPANS[overlap], values)])} == {1.0}


def test_the_hand_over_covers_all_that_two_windows_make_together() -> None:
    """With windows of one flat colour each, the film changes nowhere else than in its joins."""
    for overlap, spans in SPANS.items():
        colours = iter(range(0, 60000, 10000))

        def make(window: Window, colours: "iter[int]" = colours) -> Frames:  # type: ignore[valid-type]
            return np.full((window.frames, 8, 8, 3), next(colours), np.uint16)

        key = np.zeros((1, 8, 8, 3), np.uint16)
        found = Steps()
        for piece in make_shot(make, spans, key, "", 0, load=lambda _: None, save=lambda n, f: f, anchor=None):
            found.add(piece)
        seen = Seen("one", 0.0, 16, spans, np.array(found.values))
        assert (seen.values > 0).sum() == (len(spans) - 1) * (1 if overlap == 1 else overlap + 1)
        assert seen.values[seen.free].max() == 0


def test_false_alarms_are_as_rare_as_said() -> None:
    """Films whose joins are like any other place: one in twenty at most is said to jump."""
    verdicts = [
        judge(find_joins([Seen(str(n), 5.0 * n, 16, SPANS[5], steps(6 * film + n)) for n in range(6)]))
        for film in range(400)
    ]
    alarms = sum(not verdict.holds for verdict in verdicts)
    assert 4 <= alarms <= 32  # 0.05 of 400, with more than three deviations of a binomial above
    assert np.mean([verdict.above / verdict.steps for verdict in verdicts]) == pytest.approx(0.05, abs=0.006)


def test_joins_that_are_a_little_larger_do_not_hold() -> None:
    film = []
    for n in range(10):
        values = steps(n)
        for span in SPANS[1][1:]:
            values[span.start] += 1.0
        film.append(Seen(str(n), 5.0 * n, 16, SPANS[1], values))
    verdict = judge(find_joins(film))
    assert not verdict.holds
    assert verdict.jumps > 10


def test_what_cannot_be_judged(tmp_path: Path) -> None:
    (join,) = find_joins([Seen("one", 0.0, 16, plan_windows(17, 9, 1), steps(0, 17))])
    assert (join.limit, join.above, join.percentile) == (None, None, None)
    assert "not judged: only 15 differences outside of joins" in str(join)
    assert judge([join]).chance is None
    write_records(tmp_path / "joins.jsonl", [join])
    assert read_records(tmp_path / "joins.jsonl", Join) == [join]
    assert find_joins([Seen("still", 0.0, 16, [Span(0, 17, 0, None)], steps(0, 17))]) == []
