"""The order of the held-out clips, and numbers as text."""

import pytest
from fake_run import metric

from cinetune.records import Sample, Score
from cinetune.report.comparison import compare, spread
from cinetune.report.media import enlargement
from cinetune.report.numerals import fixed, label, p_text
from cinetune.report.table import HALF, dots, tabulate


def sample(source: str, arm: str) -> Sample:
    return Sample(f"{source}-{arm}", arm, source, "", 0, "", "", "", 1, 1.0, 1.0)


def score(source: str, arm: str, value: float | None, name: str = "lpips") -> Score:
    return Score(name, "1", arm, f"{source}-{arm}", source, value, "distance")


SOURCES = ("a", "b", "c")
SAMPLES = [sample(source, arm) for source in SOURCES for arm in ("base", "tuned", "static")]


@pytest.mark.parametrize(("better", "order"), [("lower", "bca"), ("higher", "acb")])
def test_worst_change_first(better: str, order: str) -> None:
    tuned = {"a": -0.2, "b": 0.1, "c": -0.1}
    scores = [score(s, arm, 0.5 + (tuned[s] if arm == "tuned" else 0.0)) for s in SOURCES for arm in ("base", "tuned")]
    found = compare(SAMPLES, scores, metric("lpips", "pair", better, 3, "", 0.0, 0.0, (1.0, 1.0), None), shown=2)
    assert "".join(row.source for row in found.rows) == order
    assert [row.place for row in found.rows] == [
        "worst change of 3",
        "2 of 3, counted from the worst",
        "best change of 3",
    ]
    assert [row.open for row in found.rows] == [True, False, True]
    assert [dot.x for dot in dots(found)] == sorted(dot.x for dot in dots(found))
    assert max(abs(dot.x) for dot in dots(found)) == HALF


def test_a_clip_without_a_score_comes_last_and_says_so() -> None:
    scores = [score(s, arm, None if (s, arm) == ("a", "tuned") else 0.5) for s in SOURCES for arm in ("base", "tuned")]
    found = compare(SAMPLES, scores, metric("lpips", "pair", "lower", 3, "", 0.0, 0.0, (1.0, 1.0), None), shown=6)
    assert [(row.source, row.place) for row in found.rows][-1] == ("a", "not ordered: no score")
    assert found.rows[-1].values == {"base": 0.5}
    assert len(dots(found)) == 2


def test_without_scores_the_order_is_by_name() -> None:
    found = compare(SAMPLES, [], [], shown=6)
    assert [row.source for row in found.rows] == list(SOURCES)
    assert found.metric == ""


def test_a_metric_where_neither_side_is_better_does_not_order() -> None:
    results = metric("motion_ratio", "pair", "neither", 3, "", 1.0, 2.0, (1.0, 1.0), None)
    results += metric("psnr", "pair", "higher", 3, "", 20.0, 21.0, (1.0, 1.0), None)
    scores = [score(s, arm, 1.0, "psnr") for s in SOURCES for arm in ("base", "tuned")]
    assert compare(SAMPLES, scores, results, shown=6).metric == "PSNR"


def test_spread() -> None:
    assert spread(24, 6) == [0, 5, 9, 14, 18, 23]
    assert spread(3, 6) == [0, 1, 2]
    assert spread(0, 6) == []
    assert spread(9, 1) == [0]


def test_whiskers_point_right_where_it_is_better() -> None:
    results = [
        *metric("lpips", "pair", "lower", 9, "", 0.3, 0.2, (0.1, 0.05), None),
        *metric("psnr", "pair", "higher", 9, "", 20.0, 19.0, (1.0, 0.5), None),
    ]
    better, worse = (row.whisker for row in tabulate(results).rows)
    assert better is not None
    assert worse is not None
    assert 0 < better.low < better.middle < better.high == HALF
    assert -HALF == worse.low < worse.middle < worse.high < 0


def test_numbers_as_text() -> None:
    assert fixed(-0.0004, 2) == "0.00"
    assert p_text(0.0004999) == "< 0.001"
    assert p_text(None) == ""
    assert [label(m) for m in ("lpips", "clip_text", "my.module:R_LPIPS")] == ["LPIPS", "CLIP text", "r LPIPS"]
    assert [enlargement(w) for w in (96, 320, 832, 1280)] == [4, 1, 1, 1]
