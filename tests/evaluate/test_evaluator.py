"""A whole evaluation on small videos: numbers, pairs, cache, seeds, and what goes wrong."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from cinetune import plugins
from cinetune.errors import FootageError, MetricError, PluginError, RecordError, WeightsError
from cinetune.evaluate import features
from cinetune.evaluate.evaluator import evaluate
from cinetune.ops.statistics import bootstrap_mean
from cinetune.recipe import Evaluate
from cinetune.records import Result, Sample, Score, read_records

ALL = ("lpips", "fvd", "kid", "clip_text", "clip_frames", "flicker", "motion_ratio", "psnr", "colour")
SECTION = Evaluate(metrics=ALL, resamples=200)
CHEAP = Evaluate(metrics=("psnr", "flicker"), resamples=200)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(scope="module")
def results(samples: list[Sample], root: Path, out: Path) -> list[Result]:
    return evaluate(samples, root, SECTION, seed=0, out=out)


def one(results: list[Result], metric: str, arm: str) -> Result:
    (found,) = [r for r in results if (r.metric, r.arm) == (metric, arm)]
    return found


def test_every_metric_has_its_arms(results: list[Result]) -> None:
    for name in ALL:
        kind = plugins.load("metrics", name).kind
        arms = [r.arm for r in results if r.metric == name]
        expected = ["base", "tuned", "static", "tuned - base"]
        expected += {"pair": ["tuned - static"], "video": ["real"], "set": ["real"]}[kind]
        assert arms == expected


def test_results_say_what_they_looked_through(results: list[Result]) -> None:
    assert one(results, "psnr", "base").backbone == ""
    assert one(results, "kid", "base").backbone.startswith("nano_frames 1 (sha256 ")
    assert one(results, "fvd", "base").backbone.startswith("nano_video 1 (sha256 ")


def test_the_nearer_arm_is_found_with_an_interval_and_a_p_value(results: list[Result]) -> None:
    for name in ("lpips", "kid", "psnr"):
        difference = one(results, name, "tuned - base")
        sign = 1 if difference.better == "higher" else -1
        assert difference.low is not None
        assert difference.high is not None
        assert min(sign * difference.low, sign * difference.high) > 0
        assert difference.p_value is not None
        assert difference.p_value < 0.05
        assert difference.n == 12


def test_a_difference_is_the_difference_of_the_arms(results: list[Result]) -> None:
    for name in ALL:
        tuned, base, difference = (one(results, name, arm).estimate for arm in ("tuned", "base", "tuned - base"))
        assert tuned is not None
        assert base is not None
        assert difference == pytest.approx(tuned - base, abs=1e-9)


def test_scores_carry_the_means(results: list[Result], out: Path) -> None:
    scores = read_records(out / "scores.jsonl", Score)
    assert {(s.metric, s.arm) for s in scores} >= {("lpips", "tuned"), ("flicker", "real"), ("psnr", "static")}
    assert not [s for s in scores if s.metric in ("fvd", "kid")]
    values = [s.value for s in scores if (s.metric, s.arm) == ("lpips", "tuned")]
    assert len(values) == 12
    result = one(results, "lpips", "tuned")
    assert result.estimate == pytest.approx(np.mean(np.array(values, float)))
    interval = bootstrap_mean(np.array(values, float), level=0.95, resamples=200, seed=0)
    assert (result.low, result.high) == pytest.approx(tuple(interval))


def test_fvd_warns_of_its_bias_and_the_floor_says_how_it_was_made(results: list[Result]) -> None:
    assert "65 would" in one(results, "fvd", "tuned").reason
    floor = one(results, "fvd", "real")
    assert floor.n == 6
    assert "halvings" in floor.reason
    assert abs(one(results, "kid", "real").estimate or 9) < 0.5 * (one(results, "kid", "base").estimate or 0)


def test_static_videos_do_not_move(results: list[Result]) -> None:
    assert one(results, "motion_ratio", "static").estimate == 0
    assert one(results, "clip_frames", "static").estimate == pytest.approx(1)


def test_the_file_holds_the_results(results: list[Result], out: Path) -> None:
    tree = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert [Result(**r) for r in tree["results"]] == results
    assert tree["meta"]["backbones"]["lpips"]["name"] == "nano_lpips"
    assert tree["meta"]["seed"] == 0


def test_a_second_evaluation_reads_no_video(
    results: list[Result], samples: list[Sample], root: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: (out / name).read_bytes() for name in ("scores.jsonl", "results.json")}

    def refuse(path: Path) -> None:
        pytest.fail(f"{path} was decoded again")

    monkeypatch.setattr(features, "read_any", refuse)
    assert evaluate(samples, root, SECTION, seed=0, out=out) == results
    assert {name: (out / name).read_bytes() for name in before} == before
    seeded = evaluate(samples, root, SECTION, seed=1, out=out)
    assert [r.estimate for r in seeded if r.arm == "base"] == [r.estimate for r in results if r.arm == "base"]
    assert [r.low for r in seeded if r.metric == "psnr"] != [r.low for r in results if r.metric == "psnr"]


def test_each_video_is_decoded_once(
    samples: list[Sample], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []
    real = features.read_any
    monkeypatch.setattr(features, "read_any", lambda path: decoded.append(path) or real(path))
    told: list[tuple[int, int]] = []
    evaluate(samples, root, CHEAP, seed=0, out=tmp_path, progress=lambda done, of: told.append((done, of)))
    assert sorted(decoded) == sorted({root / p for s in samples for p in (s.video, s.reference)})
    assert told == [(i, 48) for i in range(1, 49)]
    decoded.clear()
    evaluate(samples, root, CHEAP.model_copy(update={"metrics": ("psnr", "flicker", "colour")}), seed=0, out=tmp_path)
    assert len(decoded) == 48  # a metric more has to look
    decoded.clear()
    evaluate(samples, root, CHEAP, seed=0, out=tmp_path)
    assert decoded == []


def test_the_same_seed_gives_the_same_bytes_elsewhere(
    results: list[Result], samples: list[Sample], root: Path, tmp_path: Path, out: Path
) -> None:
    section = SECTION.model_copy(update={"metrics": ("kid", "fvd")})
    fresh = evaluate(samples, root, section, seed=0, out=tmp_path)
    alone = [dataclasses.replace(r, p_holm=None) for r in fresh]  # the correction is for all metrics of an evaluation
    assert alone == [dataclasses.replace(r, p_holm=None) for m in ("kid", "fvd") for r in results if r.metric == m]


def test_few_clips_have_an_estimate_but_no_interval(samples: list[Sample], root: Path, tmp_path: Path) -> None:
    few = [s for s in samples if s.source in ("clip-0", "clip-1", "clip-2")]
    section = Evaluate(metrics=("psnr", "kid", "fvd"), resamples=100)
    results = evaluate(few, root, section, seed=0, out=tmp_path)
    for result in (r for r in results if r.arm != "real"):
        assert result.estimate is not None
        assert result.low is result.high is None
        assert "3 independent clips; 8 would do" in result.reason
    alone = evaluate(few[:1], root, section, seed=0, out=tmp_path)
    assert one(alone, "kid", "base").estimate is None
    assert "two videos" in one(alone, "kid", "base").reason
    assert one(alone, "psnr", "base").n == 1


def test_clips_of_one_scene_count_as_one(samples: list[Sample], root: Path, tmp_path: Path) -> None:
    section = Evaluate(metrics=("psnr", "kid"), resamples=100)
    scenes = {f"clip-{n}": f"scene-{n // 2}" for n in range(12)}
    results = evaluate(samples, root, section, seed=0, out=tmp_path, scenes=scenes)
    for name in ("psnr", "kid"):
        result = one(results, name, "tuned")
        assert result.n == 12
        assert result.low is None
        assert "6 independent clips" in result.reason


def test_a_sample_without_truth_is_left_out_by_name(samples: list[Sample], root: Path, tmp_path: Path) -> None:
    blind = [dataclasses.replace(s, reference="") if s.id == "tuned-3" else s for s in samples]
    results = evaluate(blind, root, Evaluate(metrics=("psnr", "flicker", "kid"), resamples=100), seed=0, out=tmp_path)
    assert one(results, "psnr", "tuned").n == 11
    assert one(results, "psnr", "tuned").reason == "1 left out: there is no true continuation to compare with"
    assert one(results, "psnr", "tuned - base").n == 11
    assert one(results, "flicker", "tuned").n == 12
    assert one(results, "kid", "tuned").n == 11
    assert "1 left out" in one(results, "kid", "tuned - base").reason
    scores = read_records(tmp_path / "scores.jsonl", Score)
    (blank,) = [s for s in scores if s.value is None]
    assert blank.item == "tuned-3"


def test_identical_arms_do_not_differ(samples: list[Sample], root: Path, tmp_path: Path) -> None:
    twins = [s for s in samples if s.arm == "base"]
    twins += [dataclasses.replace(s, id=f"twin-{s.id}", arm="tuned") for s in twins]
    results = evaluate(twins, root, Evaluate(metrics=("psnr", "kid", "fvd"), resamples=100), seed=0, out=tmp_path)
    for name in ("psnr", "kid", "fvd"):
        result = one(results, name, "tuned - base")
        assert (result.estimate, result.low, result.high, result.p_value) == (0, 0, 0, 1)


def test_what_goes_wrong_is_said_in_one_line(samples: list[Sample], root: Path, tmp_path: Path) -> None:
    def fails(kind: type[Exception], match: str, some: list[Sample], section: Evaluate, where: Path = root) -> None:
        with pytest.raises(kind, match=match) as error:
            evaluate(some, where, section, seed=0, out=tmp_path / "out")
        assert "\n" not in str(error.value)

    fails(MetricError, "no samples", [], CHEAP)
    fails(MetricError, "no metrics", samples, Evaluate(metrics=()))
    fails(PluginError, "did you mean lpips", samples, Evaluate(metrics=("lpip",)))
    fails(MetricError, r"00\.mkv: no such video", samples, CHEAP, where=tmp_path)
    fails(WeightsError, "i3d=PATH", samples, Evaluate(metrics=("fvd",), weights="published"))
    (tmp_path / "base").mkdir()
    (tmp_path / "clips").mkdir()
    for name in ("base/00.mkv", "clips/00.mkv"):
        (tmp_path / name).write_bytes((root / name).read_bytes()[:2000])
    fails(FootageError, r"00\.mkv", [samples[0]], CHEAP, where=tmp_path)


def test_damaged_features_name_their_file(samples: list[Sample], root: Path, tmp_path: Path) -> None:
    evaluate(samples[:1], root, CHEAP, seed=0, out=tmp_path)
    store = next((tmp_path / "features").rglob("*.safetensors"))
    store.write_bytes(store.read_bytes()[:20])
    with pytest.raises(RecordError, match=store.name):
        evaluate(samples[:1], root, CHEAP, seed=0, out=tmp_path)
