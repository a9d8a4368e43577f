"""What is said about results: gains, losses, nothing clear, nothing known, and never a claim without an interval."""

import dataclasses

import pytest
from fake_run import fake_results, metric

from cinetune.records import Result
from cinetune.report.verdict import caveats, claim, evidence, verdict

GAIN = metric("lpips", "pair", "lower", 24, "", 0.31, 0.24, (0.03, 0.02), 0.001)
LOSS = metric("lpips", "pair", "lower", 24, "", 0.24, 0.31, (0.03, 0.02), 0.001)
NOTHING = metric("lpips", "pair", "lower", 24, "", 0.31, 0.30, (0.03, 0.02), 0.4)


def without_interval(results: list[Result], **change: object) -> list[Result]:
    return [dataclasses.replace(r, low=None, high=None, reason="needs 8 clips, has 3", **change) for r in results]


def test_a_gain() -> None:
    assert verdict(GAIN) == (
        "On 24 held-out clips the tuned model is closer to the film than the base by LPIPS. "
        "LPIPS 0.310 -> 0.240 (difference -0.070, 95 % interval -0.090 to -0.050)."
    )


def test_a_loss_is_said_as_plainly() -> None:
    assert claim(LOSS) == "On 24 held-out clips the tuned model is further from the film than the base by LPIPS."
    assert evidence(LOSS)[0].endswith("0.050 to 0.090): worse.")


def test_an_interval_across_zero_claims_nothing() -> None:
    assert claim(NOTHING) == (
        "On 24 held-out clips no clear difference between the tuned model and the base is shown by LPIPS."
    )
    assert evidence(NOTHING)[0].endswith("-0.030 to 0.010): no clear difference.")


@pytest.mark.parametrize("low_high", [(0.0, 0.1), (-0.1, 0.0)])
def test_an_interval_that_touches_zero_claims_nothing(low_high: tuple[float, float]) -> None:
    touching = [dataclasses.replace(GAIN[-1], low=low_high[0], high=low_high[1])]
    assert "no clear difference" in claim(touching)


def test_no_interval_no_claim() -> None:
    results = without_interval(GAIN)
    assert claim(results).startswith("Whether tuning helped is not known")
    assert evidence(results) == [
        "LPIPS 0.3100 -> 0.2400 (difference -0.0700, no interval: needs 8 clips, has 3), so nothing is claimed."
    ]


def test_not_measured_is_said_with_its_reason() -> None:
    assert evidence(without_interval(GAIN, estimate=None)) == ["LPIPS was not measured: needs 8 clips, has 3."]


def test_a_metric_without_a_difference_is_not_passed_over() -> None:
    alone = dataclasses.replace(metric("fvd", "set", "lower", 1, "", 9.0, 9.0, (1.0, 1.0), None)[0], reason="one video")
    assert claim([*GAIN, alone]).endswith("by LPIPS; FVD could not be compared.")
    assert evidence([*GAIN, alone])[-1] == "FVD was not compared: one video."
    assert claim([alone]).startswith("Whether tuning helped is not known")


def test_nothing_at_all() -> None:
    assert verdict([]).startswith("Whether tuning helped is not known")


def test_higher_is_better_and_metrics_of_the_video_alone() -> None:
    up = metric("clip_text", "video", "higher", 24, "", 0.29, 0.31, (0.01, 0.005), 0.01)
    down = metric("clip_frames", "video", "higher", 24, "", 0.31, 0.29, (0.01, 0.005), 0.01)
    assert claim(up) == "On 24 held-out clips the tuned model is better than the base by CLIP text."
    assert claim([*GAIN, *up, *LOSS_KID, *down]) == (
        "On 24 held-out clips the tuned model is closer to the film than the base by LPIPS and better by CLIP text,"
        " but further from the film by KID and worse by CLIP frames."
    )


LOSS_KID = metric("kid", "set", "lower", 24, "", 0.1, 0.2, (0.03, 0.02), 0.001)


def test_a_change_without_a_better_side_is_no_gain() -> None:
    flicker = metric("flicker", "video", "neither", 24, "", 2.0, 3.0, (0.3, 0.2), 0.001)
    assert claim(flicker) == (
        "On 24 held-out clips the tuned model differs from the base;"
        " flicker changed, where neither direction is better."
    )


def test_everything_at_once() -> None:
    text = verdict(fake_results(14))
    assert text.startswith(
        "On 14 held-out clips the tuned model is closer to the film than the base by LPIPS and KID, but worse by"
        " CLIP text; flicker shows no clear difference; FVD could not be compared. LPIPS"
    )
    assert "Against the first frame held still, LPIPS 0.352 -> 0.248 (difference -0.104" in text
    assert text.endswith("these numbers are not comparable with published ones.")


def test_published_backbones_need_no_caveat() -> None:
    assert caveats(GAIN) == []
