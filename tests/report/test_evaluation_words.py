"""What is claimed from an evaluation: only what holds after Holm, and the reason beside everything else."""

import dataclasses
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from cinetune.records import Evaluated, Result, Score
from cinetune.report.evaluation_files import Evaluation
from cinetune.report.evaluation_plots import _density, change_words
from cinetune.report.evaluation_views import chosen, left_out
from cinetune.report.evaluation_words import claims, headline, measured, outcome

BETTER = Result(
    "lpips", "1", "a - b", "pair", "lower", -0.08, -0.1, -0.06, 0.95, 20, "distance", "", 0, p_value=0.001, p_holm=0.01
)


def video(name: str, arm: str, **more: object) -> Evaluated:
    fields: dict[str, object] = {"reference": "", "caption": "", "frames": 9, "height": 8, "width": 8, **more}
    return Evaluated(id=name, arm=arm, source=name, video=f"{arm}/{name}.mp4", **fields)  # type: ignore[arg-type]


def evaluation(results: list[Result], arms: tuple[str, ...] = ("a", "b"), n: int = 20) -> Evaluation:
    videos = [video(f"{i}", arm, still=arm == "static") for arm in (*arms, "real") for i in range(n)]
    return Evaluation(Path(), {}, results, [], videos)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "better"),
        ({"better": "higher"}, "worse"),
        ({"better": "neither"}, "changed"),
        ({"high": 0.0}, "unclear"),
        ({"p_holm": 0.051}, "uncorrected"),
        ({"p_holm": 0.05}, "better"),
        ({"p_holm": None}, "uncorrected"),
        ({"p_holm": 0.04, "level": 0.99}, "uncorrected"),
        ({"low": None, "high": None}, "unknown"),
        ({"estimate": None}, "unknown"),
    ],
)
def test_an_outcome_needs_an_interval_and_holm(change: dict[str, object], expected: str) -> None:
    assert outcome(dataclasses.replace(BETTER, **change)) == expected  # type: ignore[arg-type]


def test_a_claim_carries_its_numbers() -> None:
    found = claims(evaluation([BETTER]))
    assert found.can == [
        "a is better than b by LPIPS: difference -0.080, 95 % interval -0.100 to -0.060, p = 0.010 after Holm."
    ]
    assert found.cannot == []


def test_what_is_not_claimed_is_grouped_by_its_reason() -> None:
    wide = dataclasses.replace(BETTER, high=0.1)
    lost = dataclasses.replace(BETTER, p_value=0.02, p_holm=0.08)
    none = dataclasses.replace(BETTER, low=None, high=None, reason="no interval from 3 independent clips; 8 would do")
    renamed = [
        dataclasses.replace(r, metric=name)
        for r, name in zip([wide, wide, lost, lost, none], ["lpips", "psnr", "ssim", "dists", "flicker"], strict=True)
    ]
    found = claims(evaluation(renamed))
    assert found.can == []
    assert found.cannot == [
        "a against b: no clear difference by LPIPS and PSNR; the intervals include zero.",
        "a against b: by SSIM and DISTS the intervals exclude zero, but p does not hold after Holm's correction"
        " (smallest 0.080).",
        "a against b: flicker is not compared: no interval from 3 independent clips; 8 would do.",
    ]


def test_random_weights_mean_nothing() -> None:
    timed = dataclasses.replace(BETTER, backbone="lpips_alex random 1 (sha256 0)")
    assert claims(evaluation([timed])).cannot == [
        "LPIPS went through networks of random weights, which is for timing: they mean nothing."
    ]
    assert measured(evaluation([timed])).endswith("by LPIPS, looking through lpips_alex random.")


def test_one_number_under_two_names_is_one_finding() -> None:
    seen = dataclasses.replace(BETTER, backbone="nano_lpips 1 (sha256 0)")
    twin = dataclasses.replace(seen, metric="lpips_vgg")
    words = "LPIPS and LPIPS VGG look through the same network here and are one number: one finding, not 2."
    assert words in claims(evaluation([seen, twin])).cannot
    assert words not in claims(evaluation([seen, dataclasses.replace(twin, estimate=-0.07)])).cannot


def test_one_arm_is_held_against_the_noise_floor() -> None:
    own = Result("fvd", "1", "a", "set", "lower", 30.0, 25.0, 36.0, 0.95, 20, "", "nano_video 1 (sha256 0)", 0)
    floor = dataclasses.replace(own, arm="real", estimate=12.0, low=8.0, high=17.0)
    apart = claims(evaluation([own, floor], ("a",)))
    assert apart.can == [
        "FVD of a is 30 (95 % interval 25 to 36), real videos from each other 12 (8 to 17):"
        " further from the real videos than these are from each other."
    ]
    inside = claims(evaluation([own, dataclasses.replace(floor, high=27.0)], ("a",)))
    assert inside.can == []
    assert "FVD looks through nano backbones" in inside.cannot[0]
    assert inside.cannot[1].endswith("not told apart from real videos.")
    assert "no other to be better or worse than" in inside.cannot[2]


def test_a_still_frame_that_does_as_well_is_said() -> None:
    own = dataclasses.replace(BETTER, arm="a", estimate=0.25, low=0.2, high=0.3)
    still = dataclasses.replace(own, arm="static", estimate=0.24, low=0.2, high=0.3)
    assert any("says nothing about motion" in s for s in claims(evaluation([own, still], ("a", "static"))).cannot)
    worse = dataclasses.replace(still, estimate=0.26)
    assert not any("says nothing" in s for s in claims(evaluation([own, worse], ("a", "static"))).cannot)


def test_headline_and_sentence() -> None:
    e = evaluation([BETTER], ("a", "b", "static"))
    assert headline(e) == "a and b: 20 videos each against 20 real videos"
    assert measured(e) == (
        "a (20 videos), b (20 videos) and held still (20 videos) were measured against 20 real videos by LPIPS."
    )
    e = dataclasses.replace(e, videos=[dataclasses.replace(e.videos[0], problem="a/0.mp4: damaged"), *e.videos[1:]])
    assert headline(e) == "a (19 videos) and b (20) against 20 real videos"
    assert measured(e).endswith("by LPIPS; 1 of 60 videos was left out.")
    assert headline(evaluation([], ())) == "No generated video was measured"


def scores(values: list[float | None]) -> list[Score]:
    return [Score("lpips", "1", "a", f"v{i:02d}", f"v{i:02d}", value, "") for i, value in enumerate(values)]


def test_worst_and_best_are_chosen_by_the_score_alone() -> None:
    found = chosen(scores([0.5, None, 0.1, 0.9, 0.3, 0.3, 0.7, 0.2]), "lower")
    assert [(s.item, place) for s, place in found] == [
        ("v03", "worst of 7"),
        ("v06", "2nd worst of 7"),
        ("v00", "3rd worst of 7"),
        ("v05", "3rd best of 7"),
        ("v07", "2nd best of 7"),
        ("v02", "best of 7"),
    ]
    assert [s.item for s, _ in chosen(scores([0.2, 0.1]), "higher")] == ["v01", "v00"]
    assert [place for _, place in chosen(scores([1.0, 2.0]), "neither")] == ["lowest of 2", "highest of 2"]
    assert chosen(scores([None]), "lower") == []


def test_a_problem_is_told_without_the_path_of_this_machine() -> None:
    problems = {
        "a": "/home/who/gen/a.mp4: an empty file (0 bytes); copy it again",
        "b.png": "elsewhere/b.png/0007.png: a damaged picture",
        "c": "no: path",
    }
    videos = [video(name, "a", problem=text) for name, text in problems.items()]
    videos[1] = dataclasses.replace(videos[1], video="elsewhere/b.png")
    found = left_out(Evaluation(Path(), {}, [], [], [*videos, dataclasses.replace(videos[0], arm="static")]))
    assert [v.reason for v in found] == [
        "an empty file (0 bytes); copy it again",
        "0007.png: a damaged picture",
        "no: path",
    ]
    assert found[0].arms == "a, static"


def test_words_for_pairs() -> None:
    pairs = [(1.0, 2.0), (1.0, 0.5), (1.0, 0.2), (1.0, 1.0)]
    assert change_words(pairs, "lower") == "2 better, 1 worse, 1 the same"
    assert change_words(pairs, "higher") == "1 better, 2 worse, 1 the same"
    assert change_words(pairs[:1], "neither") == "1 higher, 0 lower"


def test_statistics_stand_for_videos() -> None:
    files = {"real": {"fvd": {"file": "ucf.npz"}, "fid": {"file": "ucf.npz"}}}
    e = evaluation([BETTER], ("a", "b"))
    assert headline(dataclasses.replace(e, meta={"statistics": files})) == (
        "a and b: 20 videos each against 20 real videos and statistics ucf.npz"
    )
    files["arms"] = {"c": {"file": "c.npz"}}
    e = Evaluation(Path(), {"statistics": files}, [dataclasses.replace(BETTER, arm="c")], [], [])
    assert headline(e) == "c (statistics c.npz) against statistics ucf.npz"
    assert measured(e) == "c (statistics c.npz) was measured against statistics ucf.npz by LPIPS."


@pytest.mark.parametrize("scores", [[0.0, 0.01, 0.02, 0.3, 0.5, 0.9], [-0.01, 0.0, 0.02, 0.3, 0.5, 0.9]])
def test_a_density_is_below_zero_only_where_scores_are(scores: list[float]) -> None:
    axes = Mock()
    _density(axes, np.array(scores), 0, "red")
    at, heights = axes.fill_between.call_args.args[:2]
    assert (at[0] < 0) == (scores[0] < 0)
    if scores[0] >= 0:  # what was folded back keeps the density from falling towards the edge
        assert -heights[0] == pytest.approx(0.4, rel=0.05)
