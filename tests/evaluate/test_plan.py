"""How many clips a difference takes: by hand, and in studies that were planned."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import t

from cinetune.errors import MetricError, RecordError
from cinetune.evaluate.plan import plan, print_plan
from cinetune.ops.power import needed
from cinetune.ops.statistics import mean_swap_test
from cinetune.records import Result, Score, write_records


def result(metric: str, arm: str, kind: str, n: int, low: float | None = None, high: float | None = None) -> Result:
    return Result(
        metric=metric, version="1", arm=arm, kind=kind, better="lower", estimate=0.0, low=low, high=high, level=0.95,
        n=n, unit="points", backbone="", seed=0, p_value=0.5 if " - " in arm else None, reason="",
    )  # fmt: skip


def pilot(folder: Path, differences: np.ndarray, extra: list[Result] | None = None, **meta: object) -> Path:
    """An evaluation of two arms, b at 1 and a at 1 + the differences."""
    scores = [
        Score(metric="m", version="1", arm=arm, item=f"{arm}{i}", source=f"clip-{i}", value=1 + value, unit="points")
        for arm, values in (("a", differences), ("b", np.zeros(len(differences))))
        for i, value in enumerate(values.tolist())
    ]
    write_records(folder / "scores.jsonl", scores)
    results = [result("m", arm, "pair", len(differences)) for arm in ("a", "b", "a - b", "real")] + (extra or [])
    tree = {"meta": meta, "results": [dataclasses.asdict(r) for r in results]}
    (folder / "results.json").write_text(json.dumps(tree), encoding="utf-8")
    return folder


def spread(values: np.ndarray, to: float) -> np.ndarray:
    return (values - values.mean()) / values.std(ddof=1) * to


def test_paired_differences_are_planned_from_their_spread(tmp_path: Path) -> None:
    values = spread(np.random.default_rng(0).standard_normal(20), 0.05)
    (need,) = plan(pilot(tmp_path, values), 0.025)
    assert (need.metric, need.arm, need.pilot, need.reason) == ("m", "a - b", 20, "")
    assert need.clips == 34  # half a standard deviation: Cohen 1988
    assert need.low is not None
    assert need.high is not None
    assert need.low < 34 < need.high
    (again,) = plan(tmp_path, need.visible or 0)
    assert again.clips == 20


def test_clips_of_a_scene_count_as_one(tmp_path: Path) -> None:
    values = np.repeat(spread(np.random.default_rng(1).standard_normal(10), 0.05), 2)
    scenes = {f"clip-{i}": f"scene-{i // 2}" for i in range(20)}
    (need,) = plan(pilot(tmp_path, values, clusters=scenes), 0.025)
    assert (need.pilot, need.clips) == (10, 34)


def test_sets_are_planned_from_their_interval(tmp_path: Path) -> None:
    """An interval of -+ t s / sqrt(n) has the spread s."""
    half = float(t.ppf(0.975, 15)) * 8 / np.sqrt(16)
    extra = [
        result("fvd", "a", "set", 16, -1, 1),
        result("fvd", "b", "set", 16),
        result("fvd", "a - b", "set", 16, -half, half),
    ]
    found = {need.metric: need for need in plan(pilot(tmp_path, np.arange(16.0), extra), 4.0)}
    assert found["fvd"].clips == 34
    assert "1 / sqrt(n)" in found["fvd"].reason
    extra[-1] = dataclasses.replace(extra[-1], low=None, high=None, reason="no interval from 5 independent clips")
    blank = {need.metric: need for need in plan(pilot(tmp_path, np.arange(16.0), extra), 4.0)}["fvd"]
    assert blank.clips is None
    assert "no interval from 5" in blank.reason


def test_one_arm_is_planned_as_two_sets(tmp_path: Path) -> None:
    values = spread(np.random.default_rng(2).standard_normal(20), 0.05)
    pilot(tmp_path, values)
    tree = json.loads((tmp_path / "results.json").read_text())
    tree["results"] = [r for r in tree["results"] if r["arm"] in ("a", "real")]
    (tmp_path / "results.json").write_text(json.dumps(tree))
    (need,) = plan(tmp_path, 0.025 * np.sqrt(2))
    assert (need.arm, need.clips) == ("a", 34)
    assert "on clips of their own" in need.reason


def test_planned_studies_have_the_power_that_was_wanted(tmp_path: Path) -> None:
    """Skewed paired differences, as those of LPIPS are: 80 of 100 studies of the planned size see the difference."""
    rng = np.random.default_rng(3)

    def drawn(n: int) -> np.ndarray:
        return -0.02 + 0.01 * (rng.gamma(4.0, 1.0, n) - 4)

    (need,) = plan(pilot(tmp_path, drawn(4000)), 0.02)
    assert need.clips is not None
    assert need.clips == needed(0.02 / 0.02, power_wanted=0.8, level=0.95)
    seen = [mean_swap_test(drawn(need.clips), permutations=199, seed=i) <= 0.05 for i in range(300)]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.08)


def test_what_cannot_be_planned_says_why(tmp_path: Path) -> None:
    (need,) = plan(pilot(tmp_path, np.zeros(12)), 0.1)
    assert (need.clips, need.visible) == (None, None)
    assert "no spread" in need.reason
    (need,) = plan(pilot(tmp_path, np.ones(1)), 0.1)
    assert "two independent clips" in need.reason
    (need,) = plan(pilot(tmp_path, np.arange(12.0)), 1e-9)
    assert need.clips is None
    assert "more than" in need.reason
    for arguments, match in (((0.0,), "above 0"), ((float("nan"),), "above 0")):
        with pytest.raises(MetricError, match=match):
            plan(tmp_path, *arguments)
    with pytest.raises(MetricError, match="power of 1"):
        plan(tmp_path, 1.0, power=1.0)
    with pytest.raises(RecordError, match="no such file"):
        plan(tmp_path / "none", 1.0)
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(RecordError, match="not the results"):
        plan(tmp_path, 1.0)


def test_the_plan_is_printed_with_its_notes(tmp_path: Path) -> None:
    extra = [result("fvd", arm, "set", 16, -1, 1) for arm in ("a", "b", "a - b")]
    needs = plan(pilot(tmp_path, spread(np.random.default_rng(4).standard_normal(16), 0.05), extra), 0.025)
    text = io.StringIO()
    print_plan(needs, Console(file=text, width=140))
    shown = " ".join(text.getvalue().split())
    assert f"m (points) a - b 0.025 34 {needs[0].low} .. {needs[0].high} 16" in shown
    assert "[1] from the width of the pilot's interval" in shown
