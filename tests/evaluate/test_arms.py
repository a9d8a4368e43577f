"""Arms, differences, intervals and corrections of an evaluation, on made-up features."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cinetune import plugins
from cinetune.evaluate import items, sets
from cinetune.evaluate.estimates import (
    REAL,
    TRAINING,
    Estimate,
    Resampling,
    Table,
    corrected,
    differences,
    to_result,
)
from cinetune.evaluate.features import Video
from cinetune.metrics._contract import Card, CorpusMetric, Features, Look, Measured, SetMetric
from cinetune.ops.frechet import frechet

HOW = Resampling(level=0.95, resamples=99, seed=0)
WIDTH = 4


def table(arms: Sequence[str], n: int = 16, *, frames: int = 3, seed: int = 0, paired: bool = True) -> Table:
    """n videos of each arm, each arm farther from the real ones; n real ones; two training videos."""
    rng = np.random.default_rng(seed)
    scene = rng.standard_normal((n, WIDTH))
    videos, seen = [], []
    for k, arm in enumerate([REAL, *arms]):
        for i in range(n):
            own = scene[i] if paired or arm == REAL else rng.standard_normal(WIDTH)
            vector = own + 0.4 * k + 0.5 * rng.standard_normal(WIDTH)
            source = f"clip-{i}" if paired or arm == REAL else f"{arm}-{i}"
            videos.append(video(f"{arm}-{i}", arm, source))
            seen.append({"video": vector, "frames": vector + 0.1 * rng.standard_normal((frames, WIDTH))})
    for i in range(2):
        videos.append(video(f"train-{i}", TRAINING, f"clip-{i}"))
        seen.append({"video": rng.standard_normal(WIDTH), "frames": rng.standard_normal((frames, WIDTH))})
    return Table(videos, seen)


def video(name: str, arm: str, source: str) -> Video:
    return Video(
        id=name, arm=arm, source=source, cluster=source, path=Path(name), reference=None, caption="", matched=True
    )


def load(name: str) -> SetMetric:
    metric: SetMetric = plugins.load("metrics", name)
    return metric


def by_arm(estimates: Sequence[Estimate]) -> dict[str, Estimate]:
    return {estimate.arm: estimate for estimate in estimates}


# -------------------------------------------------------------------------------------------- which arms


def test_the_arms_of_a_run_are_compared_as_ever() -> None:
    arms = ["base", "tuned", "static"]
    assert differences(arms, "pair") == [("tuned", "base"), ("tuned", "static")]
    assert differences(arms, "video") == differences(arms, "set") == [("tuned", "base")]
    assert differences(["base", "static"], "pair") == []


def test_other_arms_are_compared_each_with_each() -> None:
    assert differences(["ours", "theirs"], "set") == [("ours", "theirs")]
    assert differences(["a", "b", "c"], "video") == [("a", "b"), ("a", "c"), ("b", "c")]
    assert differences(["a", "b", "static"], "pair") == [("a", "b"), ("a", "static"), ("b", "static")]
    assert differences(["generated"], "pair") == []


def test_set_metrics_compare_any_arms() -> None:
    found = by_arm(sets.estimates(load("fvd"), table(["near", "far", "farther"]), HOW))
    assert list(found) == ["near", "far", "farther", "near - far", "near - farther", "far - farther", "real"]
    for name in ("near - far", "near - farther"):
        a, b = name.split(" - ")
        difference = found[name]
        assert difference.value == pytest.approx((found[a].value or 0) - (found[b].value or 0))
        assert difference.low is not None
        assert difference.high is not None
        assert difference.low < (difference.value or 0) < difference.high < 0
        assert difference.p_value is not None
        assert difference.p_value < 0.05


def test_training_videos_change_no_set() -> None:
    whole = table(["one"])
    without = Table(whole.videos[:-2], whole.seen[:-2])
    assert sets.estimates(load("kid"), whole, HOW) == sets.estimates(load("kid"), without, HOW)


# -------------------------------------------------------------------------------------------- set metrics


@pytest.mark.parametrize("name", ["fvd", "fid", "kid", "coverage", "fvd_infinite"])
def test_the_order_of_videos_changes_no_estimate(name: str) -> None:
    """Of the distances of every set metric see tests/metrics/test_sets.py."""
    whole = table(["one", "two"])
    order = np.random.default_rng(1).permutation(len(whole.videos))
    order = [*[i for i in order if whole.videos[i].arm != "two"], *[i for i in order if whole.videos[i].arm == "two"]]
    moved = Table([whole.videos[i] for i in order], [whole.seen[i] for i in order])
    few = Resampling(level=0.95, resamples=10, seed=0)
    expected, found = (by_arm(sets.estimates(load(name), some, few)) for some in (whole, moved))
    assert list(found) == list(expected)
    for arm in ("one", "two", "one - two"):
        assert found[arm].value == pytest.approx(expected[arm].value, rel=1e-6, abs=1e-9)
        assert found[arm].low == pytest.approx(expected[arm].low, rel=1e-6, abs=1e-9)
        assert found[arm].high == pytest.approx(expected[arm].high, rel=1e-6, abs=1e-9)


def test_the_bootstrap_is_a_choice_and_differs_from_the_jackknife() -> None:
    way = Resampling(level=0.95, resamples=99, seed=0, interval="bootstrap")
    for name in ("fvd", "kid"):
        one, other = (by_arm(sets.estimates(load(name), table(["one", "two"], 12), how)) for how in (HOW, way))
        for arm in ("one", "one - two"):
            assert one[arm].value == other[arm].value
            assert None not in (one[arm].low, other[arm].low, other[arm].high)
            assert one[arm].low != other[arm].low
        assert other["one"] == by_arm(sets.estimates(load(name), table(["one", "two"], 12), way))["one"]


def test_large_sets_go_by_first_order_and_say_so() -> None:
    """FID of 100 videos of 3 frames is heavy, that of 80 is not; the intervals are nearly the same."""
    found = by_arm(sets.estimates(load("fid"), table(["one", "two"], 100), HOW))
    assert all("to first order" in "; ".join(found[arm].reasons) for arm in ("one", "one - two"))
    assert found["one - two"].p_value == pytest.approx(1 / 100)
    small = by_arm(sets.estimates(load("fid"), table(["one", "two"], 80), HOW))
    assert "to first order" not in "; ".join(small["one"].reasons)
    wide, narrow = ((e.high or 0) - (e.low or 0) for e in (small["one - two"], found["one - two"]))
    assert narrow == pytest.approx(wide * np.sqrt(80 / 100), rel=0.25)
    assert f"{sets.FEWER_HALVINGS} random halvings" in found["real"].reasons[0]


def test_fvd_at_infinite_n_of_an_evaluation() -> None:
    found = by_arm(sets.estimates(load("fvd_infinite"), table(["one", "two"], 60), HOW))
    plain = by_arm(sets.estimates(load("fvd"), table(["one", "two"], 60), HOW))
    assert None not in (found["one"].low, found["one - two"].low, found["one - two"].p_value)
    assert (found["real"].value or 0) < (plain["real"].value or 0)
    few = by_arm(sets.estimates(load("fvd_infinite"), table(["one", "two"], 9), HOW))
    assert all(few[arm].value is None and "10 would do" in few[arm].reasons[-1] for arm in ("one", "one - two"))
    assert "no noise floor" in few["real"].reasons[0]


def test_unpaired_sets_are_independent_samples() -> None:
    """The frames of the arms and of the real videos vary each for themselves, so the interval is wider."""
    widths = {}
    for paired in (True, False):
        found = by_arm(sets.estimates(load("fvd"), table(["one"], 24, paired=paired), HOW))["one"]
        widths[paired] = (found.high or 0) - (found.low or 0)
    assert widths[False] > widths[True]


def test_the_estimate_is_the_distance() -> None:
    some = table(["one"])
    vectors = {
        arm: np.stack([s["video"] for v, s in zip(some.videos, some.seen, strict=True) if v.arm == arm])  # type: ignore[index]
        for arm in ("one", REAL)
    }
    assert by_arm(sets.estimates(load("fvd"), some, HOW))["one"].value == pytest.approx(frechet(*vectors.values()))


# ---------------------------------------------------------------------------------- against training videos


def nearest(features: Features, training: Sequence[Features]) -> Measured:
    if not training:
        return Measured(None, "there are no training videos")
    return Measured(min(float(np.linalg.norm(features["video"] - clip["video"])) for clip in training))


CORPUS = CorpusMetric(
    name="nearest",
    version="1",
    unit="distance",
    better="neither",
    least=8,
    source="made up for this test",
    card=Card("It measures.", "It has caveats."),
    look=Look("nearest", "1", None, lambda item, eye: {}),
    score=nearest,
)


def test_corpus_metrics_measure_every_arm_and_the_real_videos_but_not_the_training() -> None:
    some = table(["one", "two"])
    scored = items.scores(CORPUS, some)
    assert {score.arm for score in scored} == {"one", "two", REAL}
    first = next(score for score in scored if score.item == "one-0")
    at = [video.id for video in some.videos].index("one-0")
    expected = [np.linalg.norm(some.seen[at]["video"] - some.seen[-k]["video"]) for k in (1, 2)]  # type: ignore[index]
    assert first.value == pytest.approx(min(expected))
    found = by_arm(items.estimates(CORPUS, some, scored, HOW))
    assert list(found) == ["one", "two", "one - two", REAL]
    assert found["one - two"].p_value is not None
    assert to_result(CORPUS, found["one"], HOW, "").kind == "corpus"


def test_training_videos_that_are_missing_or_blind_are_said() -> None:
    some = table(["one"])
    blind = Table(some.videos, [*some.seen[:-1], "too short to see"])
    scored = items.scores(CORPUS, blind)
    assert all(score.value is not None for score in scored)
    found = by_arm(items.estimates(CORPUS, blind, scored, HOW))
    assert found["one"].reasons == ("1 of 2 training videos not compared with: too short to see",)
    none = Table(some.videos[:-2], some.seen[:-2])
    assert {score.reason for score in items.scores(CORPUS, none)} == {"there are no training videos"}


# ------------------------------------------------------------------------------------------- Holm's correction


def test_all_differences_of_an_evaluation_are_one_family() -> None:
    metrics = [load("fvd"), load("kid")]
    results = [
        to_result(metric, estimate, HOW, "")
        for metric in metrics
        for estimate in sets.estimates(metric, table(["a", "b"]), HOW)
    ]
    found = corrected(results)
    tested = [result for result in found if result.p_value is not None]
    assert len(tested) == 2
    assert sorted(r.p_holm or 0 for r in tested)[0] == pytest.approx(2 * min(r.p_value or 0 for r in tested))
    assert all(result.p_holm is None for result in found if result.p_value is None)
    assert [r.estimate for r in found] == [r.estimate for r in results]
    assert corrected([]) == []
