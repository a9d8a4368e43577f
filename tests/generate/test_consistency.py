import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from cinetune.footage.procedural import render_clip
from cinetune.generate.consistency import BINS, GENERATED, TRAINING, Consistency, View, consistency, look_at
from cinetune.metrics.backbones._contract import Eye
from cinetune.metrics.backbones._resolve import resolve

METRICS = ("shots_subject", "shots_light", "shots_grade")


@pytest.fixture(scope="module")
def eye() -> Eye:
    return resolve("frames_dino", "nano", {}, torch.device("cpu"))


def look(domain: str, seed: int, eye: Eye | None) -> View:
    return look_at(f"{domain}-{seed}", render_clip(domain, seed=seed, frames=1).frames, eye)


@pytest.fixture(scope="module")
def candle(eye: Eye) -> list[View]:
    return [look("historical", seed, eye) for seed in range(5)]


@pytest.fixture(scope="module")
def mixed(eye: Eye) -> list[View]:
    return [look(domain, 1, eye) for domain in ("day", "noir", "historical", "scifi", "human")]


def estimates(made: Consistency, arm: str = GENERATED) -> dict[str, float]:
    found = {metric: made.of(metric, arm) for metric in METRICS}
    return {metric: result.estimate for metric, result in found.items() if result and result.estimate is not None}


def test_identical_keyframes(candle: list[View], eye: Eye) -> None:
    made = consistency([candle[0]] * 3, eye=eye)
    assert estimates(made) == pytest.approx({"shots_subject": 1.0, "shots_light": 0.0, "shots_grade": 0.0})
    for result in made.results:
        assert result.low == pytest.approx(result.estimate)
        assert result.high == pytest.approx(result.estimate)


def test_shots_of_one_film_are_more_alike_than_those_of_five(candle: list[View], mixed: list[View], eye: Eye) -> None:
    one, five = estimates(consistency(candle, eye=eye)), estimates(consistency(mixed, eye=eye))
    assert one["shots_subject"] > five["shots_subject"]
    assert one["shots_light"] < five["shots_light"]
    assert one["shots_grade"] < five["shots_grade"]


def test_matrices_and_means(candle: list[View], eye: Eye) -> None:
    made = consistency(candle, eye=eye)
    for metric, matrix in made.pairs.items():
        assert matrix is not None
        assert np.allclose(matrix, matrix.T)
        assert np.allclose(np.diag(matrix), 1.0 if metric == "shots_subject" else 0.0)
        off = matrix[~np.eye(len(matrix), dtype=bool)]
        assert estimates(made)[metric] == pytest.approx(off.mean())
    assert made.of("shots_grade", TRAINING) is None


def test_light_is_scipy_s_wasserstein_distance(candle: list[View], mixed: list[View], eye: Eye) -> None:
    middles = (np.arange(BINS) + 0.5) * 100 / BINS
    matrix = consistency([candle[0], mixed[0]], eye=eye).pairs["shots_light"]
    assert matrix is not None
    wanted = wasserstein_distance(middles, middles, candle[0].light, mixed[0].light)
    assert matrix[0, 1] == pytest.approx(wanted, rel=1e-9)


def test_light_and_grade_of_plain_greys() -> None:
    """L* of black is 0 and of white 100, without tint: everything differs by 100."""
    black, white = (look_at(str(n), np.full((2, 8, 8, 3), n, np.uint8), None) for n in (0, 255))
    made = consistency([black, white], eye=None)
    matrices = [made.pairs[name] for name in ("shots_light", "shots_grade")]
    assert matrices[0] is not None
    assert matrices[1] is not None
    assert matrices[0][0, 1] == pytest.approx(100, abs=100 / BINS)
    assert matrices[1][0, 1] == pytest.approx(100, abs=1e-3)


def test_too_few_shots_and_no_network(candle: list[View], eye: Eye) -> None:
    one = consistency(candle[:1], eye=eye)
    assert {(r.estimate, r.low, r.n, r.reason) for r in one.results} == {
        (None, None, 1, "one shot has no other to compare with")
    }
    two = consistency(candle[:2], eye=eye)
    assert {(r.low, r.high, r.reason) for r in two.results} == {(None, None, "no interval from 2 shots; 3 would do")}
    assert len(estimates(two)) == 3
    blind = consistency([look("noir", n, None) for n in range(3)], eye=None)
    subject = blind.of("shots_subject", GENERATED)
    assert subject is not None
    assert (subject.estimate, subject.reason) == (None, "no network to tell subjects apart")
    assert blind.pairs["shots_subject"] is None
    assert len(estimates(blind)) == 2


def test_intervals_stay_where_numbers_can_be(candle: list[View], eye: Eye) -> None:
    """Two alike and one apart: Student's t with two degrees of freedom reaches far beyond both ends."""
    for result in consistency([candle[0], candle[0], candle[1]], eye=eye).results:
        if result.metric == "shots_subject":
            assert result.high == 1.0
        else:
            assert result.low == 0.0


def test_sentences_set_it_beside_the_training_film(candle: list[View], mixed: list[View], eye: Eye) -> None:
    film = [look("historical", seed, eye) for seed in range(20, 32)]
    grey = [look_at(f"g{n}", np.full((1, 8, 8, 3), 60 * n, np.uint8), None) for n in range(5)]
    same = consistency(film, film, eye=eye).sentences()
    assert all("between 12 shots" in s and "own 12 shots" in s and "no difference to be seen" in s for s in same)
    assert "light: " in consistency(grey, film, eye=None).sentences()[1]
    assert "less alike than the film's own" in consistency(grey, film, eye=None).sentences()[1]
    twice = consistency([film[0]] * 5, mixed, eye=eye).sentences()
    assert all("more alike than the film's own" in s for s in twice)
    alone = consistency(candle, eye=eye).sentences()
    assert all("the training film's own is not known" in s for s in alone)
    assert consistency(candle[:1], eye=eye).sentences()[0].startswith("costume and subject: not computed (one shot")


def test_the_odd_one_out_is_named(candle: list[View], eye: Eye) -> None:
    odd = look("day", 3, eye)
    for sentence in consistency([*candle[:2], odd, *candle[2:]], eye=eye).sentences():
        assert "day-3 the least like the others" in sentence


def test_written_and_the_same_again(tmp_path: Path, candle: list[View], mixed: list[View], eye: Eye) -> None:
    for name in ("a.json", "b.json"):
        consistency(candle, mixed, eye=eye).write(tmp_path / name)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    tree = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert tree["shots"] == [view.name for view in candle]
    assert {(r["metric"], r["arm"], r["n"]) for r in tree["results"]} == {
        (m, arm, 5) for m in METRICS for arm in (GENERATED, TRAINING)
    }
    assert all(r["backbone"] == (str(eye.identity) if r["metric"] == "shots_subject" else "") for r in tree["results"])
