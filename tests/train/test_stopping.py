"""The rule that ends training: told from noise clip by clip, in either direction, and whole in a checkpoint."""

import itertools
import json
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from cinetune.recipe import Validation
from cinetune.train.paired import differences, mean, mean_interval
from cinetune.train.readings import Baselines, Decision, Reading, reading_row, told
from cinetune.train.stopping import Plateau, Stopper

CLIPS = 8
EVERY = Validation(every=10)


def reading(values: Sequence[float | None], **changes: object) -> Reading:
    flow = [[0.4] * 9] * len(values)
    fields: dict[str, object] = {"low": None, "high": None, "held_out": flow, "training": flow, "nearest": []}
    return Reading(values=list(values), **{**fields, **changes})  # type: ignore[arg-type]


def baselines(values: Sequence[float | None], better: str = "lower", seconds: float = 0.0) -> Baselines:
    levels = [n / 10 for n in range(1, 10)]
    return Baselines("lpips", better, levels, reading(values, seconds=seconds), [0.5] * len(values), [], seconds)  # type: ignore[arg-type]


def curve(levels: Sequence[float], noise: float, seed: int, clips: int = CLIPS) -> list[list[float]]:
    """Values of clips that differ much from each other and follow one curve, each with noise of its own."""
    rng = np.random.default_rng(seed)
    offsets = rng.normal(0, 0.1, clips)
    return [(level + offsets + rng.normal(0, noise, clips)).tolist() for level in levels]


def follow(
    values: list[list[float]], settings: Validation = EVERY, better: str = "lower"
) -> tuple[list[Decision], Plateau]:
    """Judge validations until the rule says stop."""
    rule, made = Plateau(), []
    for step, one in enumerate(values, start=1):
        made.append(rule.take(step, one, settings, better))  # type: ignore[arg-type]
        if made[-1].stop:
            break
    return made, rule


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("better", ["lower", "higher"])
def test_a_steady_gain_is_never_stopped(seed: int, better: str) -> None:
    """Even one that no two neighbouring validations show, each 0.0015 better, where 0.002 is the least that counts."""
    sign = -1 if better == "lower" else 1
    made, rule = follow(curve(0.5 + sign * 0.0015 * np.arange(60), 0.001, seed), better=better)
    assert len(made) == 60
    assert not any(one.stop for one in made)
    assert rule.best_step > 55


def test_noise_alone_is_stopped_soon() -> None:
    """The clips differ by 0.1 and more, so that unpaired values would tell nothing."""
    ends = [len(follow(curve([0.3] * 60, 0.01, seed))[0]) for seed in range(200)]
    assert min(ends) == 1 + EVERY.patience
    assert np.mean(ends) < 2 + EVERY.patience
    assert max(ends) <= 1 + 3 * EVERY.patience


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_a_plateau_after_a_gain_is_stopped_and_the_best_is_near_the_best_of_the_whole_curve(better: str) -> None:
    sign, near = (1 if better == "lower" else -1), []
    levels = 0.3 + sign * (0.06 * np.exp(-np.arange(60) / 3))
    for seed in range(50):
        values = curve(levels, 0.002, seed)
        made, rule = follow(values, better=better)
        assert 8 <= len(made) < 30
        means = sign * np.mean(values, axis=1)
        assert means[rule.best_step - 1] == means[: len(made)].min(), "the kept one is the best of those seen"
        near.append(means[rule.best_step - 1] - means.min() <= 0.02 * abs(means.min()))
    assert np.mean(near) == 1


def test_what_gets_worse_is_stopped_after_the_patience() -> None:
    made, rule = follow(curve(0.25 + 0.01 * np.arange(9), 0.002, 0))
    assert (len(made), rule.best_step, made[-1].waited) == (1 + EVERY.patience, 1, EVERY.patience)


def test_the_best_mean_is_kept_however_small_its_gain() -> None:
    values = [[0.3, 0.4], [0.3 - 1e-9, 0.4], [0.2, 0.5 + 1e-6], [0.3 - 2e-9, 0.4]]
    made, rule = follow(values, Validation(patience=9))
    assert [one.best for one in made] == [True, True, False, True]
    assert [one.gained for one in made] == [True, False, False, False]
    assert rule.best_step == 4


@pytest.mark.parametrize(("fall", "clear"), [(0.0019, False), (0.0021, True)])
def test_the_least_gain_decides_where_there_is_no_noise(fall: float, clear: bool) -> None:
    made, _ = follow([[0.3, 0.5, 0.9], [0.3 - fall, 0.5 - fall, 0.9 - fall]])
    assert made[1].gained is clear


def test_noise_decides_where_the_gain_is_large_enough() -> None:
    """A gain of 0.01 on average: clear where all clips have it, not where one has it all. Against scipy's own test."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        before, gains = rng.normal(0.3, 0.1, 6), rng.normal(0.004, rng.uniform(0.001, 0.02), 6)
        made, _ = follow([before.tolist(), (before - gains).tolist()])
        p = stats.ttest_1samp(gains, 0).pvalue  # two-sided at 20 % is the interval of 80 %
        assert made[1].gained == (gains.mean() > EVERY.minimum_gain and p < 0.2)


def test_clips_without_a_value_are_left_out_of_the_pair() -> None:
    made, rule = follow([[0.3, None, 0.5], [0.2, 0.9, None], [None, 0.1, None], [0.1, 0.05, 0.1]])
    assert [one.best for one in made] == [True, True, True, True]
    rule.take(5, [None, None, None], EVERY, "lower")
    assert rule.best_step == 4, "nothing to compare is nothing gained"


def test_one_clip_has_no_interval_and_the_least_gain_decides_alone() -> None:
    made, _ = follow([[0.3], [0.299], [0.29]])
    assert [one.gained for one in made] == [True, False, True]


def test_students_interval_is_scipys() -> None:
    values = np.random.default_rng(1).normal(3, 2, 9)
    ends = mean_interval(values, 0.9)
    assert ends is not None
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert tuple(ends) == pytest.approx((expected.low, expected.high))
    assert mean_interval(values[:1], 0.9) is None
    assert mean([None, None]) is None
    assert differences([1.0, None, 3.0], [0.5, 2.0, None]).tolist() == [0.5]


def test_a_restored_rule_goes_on_alike() -> None:
    """After every validation, through JSON: the same decisions as the one that was never stored."""
    values = curve(0.3 + 0.05 * np.exp(-np.arange(20) / 4), 0.004, 3)
    base = baselines(curve([0.4], 0.0, 3)[0])

    def decisions(interrupted: bool) -> list[Decision]:
        stopper, made = Stopper(EVERY, base, steps=200), []
        for step, one in enumerate(values, start=1):
            if interrupted:
                stored = json.loads(json.dumps(stopper.state()))
                stopper = Stopper(EVERY, Baselines.of(json.loads(json.dumps(base.tree()))), steps=200)
                stopper.load(stored)
            made.append(stopper.take(10 * step, reading(one, seconds=step)))
        assert stopper.validated == [10 * step for step in range(1, 21)]
        assert stopper.verdict(0.95).gain
        return made

    assert decisions(True) == decisions(False)


def test_the_state_of_an_integer_interval_tells_no_time() -> None:
    states = []
    for seconds in (1.0, 99.0):
        stopper = Stopper(EVERY, baselines([0.3, 0.4], seconds=seconds), steps=30)
        stopper.stepped(seconds)
        stopper.take(10, reading([0.3, 0.4], seconds=seconds))
        states.append(stopper.state())
    assert states[0] == states[1]
    assert [step for step in range(1, 36) if stopper.due(step)] == [10, 20, 30]


@pytest.mark.parametrize(("better", "change", "gain"), [
    ("lower", -0.05, True), ("lower", 0.05, False), ("lower", 0.0, False),
    ("higher", 0.05, True), ("higher", -0.05, False),
])  # fmt: skip
def test_the_verdict_is_the_paired_interval_against_the_base(better: str, change: float, gain: bool) -> None:
    base = curve([0.4], 0.0, 5)[0]
    stopper = Stopper(EVERY, baselines(base, better), steps=100)
    assert not stopper.verdict(0.95).gain
    rng = np.random.default_rng(2)
    changes = rng.normal(0, 0.02, CLIPS)
    kept = np.array(base) + change + changes - changes.mean()
    stopper.take(10, reading(kept.tolist()))
    verdict = stopper.verdict(0.95)
    assert verdict.gain is gain
    expected = stats.ttest_rel(kept, base).confidence_interval(0.95)
    assert (verdict.low, verdict.high) == pytest.approx((expected.low, expected.high))
    assert verdict.difference == pytest.approx(change)
    assert str(verdict).startswith("gain: lpips" if gain else "no gain: lpips")


def test_no_gain_is_rarely_called_one() -> None:
    """Noise alone, the best of the validations that were made: more than one in twenty, for it was chosen."""
    calls = []
    for seed in range(200):
        values = curve([0.3] * 21, 0.01, seed)
        stopper = Stopper(EVERY, baselines(values[0]), steps=1000)
        for step, one in enumerate(values[1:], start=1):
            if stopper.take(10 * step, reading(one)).stop:
                break
        calls.append(stopper.verdict(0.95).gain)
    assert np.mean(calls) < 0.2


def test_a_line_keeps_the_old_keys_and_tells_no_time() -> None:
    base, now = baselines([0.4, 0.5]), reading([0.3, 0.5], low=0.3, high=0.5, seconds=3.0)
    decision = Plateau().take(10, now.values, EVERY, "lower")
    row = reading_row(10, now, base, decision)
    old = {
        "step": 10, "lpips": 0.4, "low": 0.3, "high": 0.5, "static_lpips": 0.5, "base_lpips": 0.45,
        "loss": pytest.approx(0.4), "best": True, "clips": 2,
    }  # fmt: skip
    assert {key: row[key] for key in old} == old
    assert len(row["losses"]) == len(row["levels"]) == 9
    assert not any("second" in key for key in row)
    json.dumps(row, allow_nan=False)
    other = Baselines(**{**vars(base), "metric": "ssim", "better": "higher"})
    assert reading_row(10, now, other, decision)["lpips"] is None
    assert "lpips 0.4000 [0.3000, 0.5000] (base 0.4500, static 0.5000)" in told(10, now, base, decision)
    assert all(
        a != b
        for a, b in itertools.pairwise(told(10, now, base, d) for d in (decision, decision._replace(gained=False)))
    )
