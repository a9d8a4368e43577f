"""Statistics files in place of videos: reading, writing, what is refused, and the numbers that come of them."""

import dataclasses
import json
import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.linalg
import torch
from typer.testing import CliRunner

from cinetune import plugins
from cinetune.cli import app
from cinetune.errors import MetricError
from cinetune.evaluate import moments, sets
from cinetune.evaluate.estimates import REAL, Resampling, Table
from cinetune.evaluate.evaluator import evaluate_folders
from cinetune.evaluate.features import Video
from cinetune.evaluate.moments import Statistics, check, chosen, gathered, read, write
from cinetune.footage.video_io import write_video
from cinetune.metrics._contract import SetMetric
from cinetune.metrics.backbones import nano_video
from cinetune.ops import frechet
from cinetune.records import Result

WIDTH = 5
HOW = Resampling(level=0.95, resamples=99, seed=0)


def load(name: str) -> SetMetric:
    metric: SetMetric = plugins.load("metrics", name)
    return metric


def vectors(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return shift + np.random.default_rng(seed).standard_normal((n, WIDTH))


def table(arms: dict[str, np.ndarray], frames: int = 1) -> Table:
    videos, seen = [], []
    for arm, rows in arms.items():
        for i, row in enumerate(rows):
            name = f"clip-{i}"
            videos.append(Video(name, arm, name, name, Path(name), None, "", matched=True))
            jitter = 0.1 * np.random.default_rng(i).standard_normal((frames, WIDTH))
            seen.append({"video": row, "frames": row + jitter})
    return Table(videos, seen)


def saved(path: Path, rows: np.ndarray, ddof: int = 1, **more: object) -> Path:
    arrays = {"mean": rows.mean(axis=0), "cov": np.cov(rows.T, ddof=ddof), **more}
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


# -------------------------------------------------------------------------------------------- files


def test_files_of_others_are_read(tmp_path: Path) -> None:
    rows = vectors(30, 0)
    mean, cov = rows.mean(axis=0), np.cov(rows.T, ddof=0)
    np.savez(tmp_path / "a.npz", mean=mean, cov=cov, n=30)
    np.savez(tmp_path / "b.npz", mu=mean, sigma=cov)
    kept = rows.astype(np.float32).astype(np.float64)
    tree = {
        "capture_all": False,
        "capture_mean_cov": True,
        "max_items": 30,
        "num_items": 30,
        "num_features": WIDTH,
        "all_features": [],
        "raw_mean": kept.sum(axis=0),
        "raw_cov": kept.T @ kept,
    }
    for protocol in (3, 4, 5):
        (tmp_path / f"{protocol}.pkl").write_bytes(pickle.dumps(tree, protocol))
    for name, n in (("a.npz", 30), ("b.npz", None), *((f"{p}.pkl", 30) for p in (3, 4, 5))):
        found = read(tmp_path / name)
        assert found.n == n
        assert found.gaussian.mean == pytest.approx(mean, abs=1e-6)
        assert found.gaussian.root.T @ found.gaussian.root == pytest.approx(cov, abs=1e-6)


def test_what_is_written_is_read_again_and_has_the_same_bytes(tmp_path: Path) -> None:
    given = frechet.fitted(vectors(4, 1))  # fewer than dimensions
    for name in ("a.npz", "b.npz"):
        write(tmp_path / name, given, 4, "fvd", "nano_video 1 (sha256 0)")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    found = read(tmp_path / "a.npz")
    assert frechet.between(found.gaussian, given) < 1e-10
    assert (found.n, found.metric, found.network) == (4, "fvd", "nano_video 1 (sha256 0)")
    assert str(found) == f"statistics a.npz (sha256 {found.sha256[:12]}, n 4, too few for 5 dimensions: biased upwards)"


class Harm:
    """What a pickle from anywhere may hold."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Make a folder."""
        return os.mkdir, ("harm",)


def test_a_pickle_executes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, tree in enumerate((Harm(), {"num_items": Harm(), "raw_mean": np.ones(2), "raw_cov": np.eye(2)})):
        path = tmp_path / f"{number}.pkl"
        path.write_bytes(pickle.dumps(tree))
        with pytest.raises(MetricError, match=r"would call (posix|nt)\.mkdir, which is not done"):
            read(path)
    np.savez(tmp_path / "object.npz", mean=np.array([Harm()], object), cov=np.eye(1))
    with pytest.raises(MetricError, match="not a file of mean and covariance"):
        read(tmp_path / "object.npz")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"features": np.ones((3, 2))}, "it holds features"),
        ({"mean": np.ones(2), "cov": np.eye(3)}, r"a mean of shape \(2,\) and a covariance of shape \(3, 3\)"),
        ({"mean": np.full(2, np.nan), "cov": np.eye(2)}, "not a number"),
        ({"mean": np.ones(2), "cov": np.array([[1.0, 0.5], [0.0, 1.0]])}, "a covariance is symmetric"),
        ({"mean": np.ones(2), "cov": np.diag([1.0, -1.0])}, "negative eigenvalue"),
        ({"mean": np.array(["a", "b"]), "cov": np.eye(2)}, "not a file of mean and covariance"),
    ],
)
def test_what_is_no_statistics_is_one_line(tmp_path: Path, arrays: dict[str, np.ndarray], match: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(MetricError, match=match) as raised:
        read(tmp_path / "a.npz")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.npz", b"text", "not a .npz archive"),
        ("a.npz", b"", "not a .npz archive"),
        ("a.pkl", b"text", "not a file of mean"),
        ("a.pkl", b"", "Ran out of input"),
        ("a.pkl", pickle.dumps({"mean": 1}), "not the statistics of StyleGAN's tools"),
        ("a.pkl", pickle.dumps({"num_items": 9, "raw_mean": np.zeros(2), "raw_cov": np.zeros((2, 2))}), "not captured"),
        ("a.txt", b"text", "no statistics file"),
    ],
)
def test_damaged_files_are_one_line(tmp_path: Path, name: str, content: bytes, match: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MetricError, match=match):
        read(tmp_path / name)
    with pytest.raises(MetricError, match=r"none\.npz: no such file"):
        read(tmp_path / "none.npz")


# -------------------------------------------------------------------------------------------- what fits


def test_statistics_that_do_not_fit_are_refused_before_anything_is_looked_at(tmp_path: Path) -> None:
    eye = nano_video.load(None, torch.device("cpu"))
    wide = np.random.default_rng(0).standard_normal((9, 64))
    good = read(saved(tmp_path / "good.npz", wide))
    check(load("fvd"), good, eye)
    check(load("fvd"), good, None)
    with pytest.raises(MetricError, match="kid: this metric needs the real videos"):
        check(load("kid"), good, eye)
    with pytest.raises(MetricError, match=r"statistics of 5 dimensions, nano_video .* sees 64"):
        check(load("fvd"), read(saved(tmp_path / "narrow.npz", vectors(9, 0))), eye)
    write(tmp_path / "named.npz", good.gaussian, 9, "fvd_videogpt", str(eye.identity))
    check(load("fvd_videogpt"), read(tmp_path / "named.npz"), eye)
    with pytest.raises(MetricError, match=r"statistics of fvd_videogpt, not of fvd$"):
        check(load("fvd"), read(tmp_path / "named.npz"), eye)
    other = SimpleNamespace(identity=dataclasses.replace(eye.identity, sha256="0" * 64))
    with pytest.raises(MetricError, match=r"seen through nano_video .*, the videos through nano_video 1"):
        check(load("fvd_videogpt"), read(tmp_path / "named.npz"), other)  # type: ignore[arg-type]


def test_which_metrics_are_measured() -> None:
    usual = ("lpips", "fvd")
    assert chosen(None, usual, (), real=False) == usual
    assert chosen(None, usual, ("fid",), real=True) == ("lpips", "fvd", "fid")
    assert chosen(None, usual, ("fid",), real=False) == ("fid",)
    assert chosen(("kid",), usual, ("fid",), real=False) == ("kid", "fid")


# -------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(("name", "n", "frames"), [("fvd", 40, 1), ("fvd_stylegan_v", 12, 1), ("fid", 100, 3)])
def test_statistics_of_the_real_videos_give_the_distance_to_them(
    name: str, n: int, frames: int, tmp_path: Path
) -> None:
    """100 videos of 3 frames go by first order."""
    arms = {"one": vectors(n, 1, 0.3), "two": vectors(n, 2, 0.6)}
    whole = table({**arms, REAL: vectors(n, 3)}, frames)
    write(tmp_path / "a.npz", *sets.moments(load(name), whole, REAL), name, "")
    stated = Statistics({name: read(tmp_path / "a.npz")})
    expected = {e.arm: e for e in sets.estimates(load(name), whole, HOW)}
    found = {e.arm: e for e in sets.estimates(load(name), table(arms, frames), HOW, stated)}
    beside = {e.arm: e for e in sets.estimates(load(name), whole, HOW, stated)}
    assert list(found) == list(beside) == list(expected) == ["one", "two", "one - two", "real"]
    for arm in ("one", "two", "one - two"):
        assert found[arm].value == pytest.approx(expected[arm].value, rel=1e-8)
        assert found[arm].n == n
        assert dataclasses.replace(found[arm], reasons=()) == dataclasses.replace(beside[arm], reasons=())
        low, high = found[arm].low, found[arm].high
        assert low is not None
        assert high is not None
        assert low < (found[arm].value or 0) < high
        assert any("a.npz (sha256" in r and "generated videos alone" in r for r in found[arm].reasons)
    assert found["one - two"].p_value is not None
    assert found["real"].value is None
    assert beside["real"] == expected["real"]  # the noise floor is of the videos


def test_the_interval_is_that_of_the_generated_videos_alone(tmp_path: Path) -> None:
    """Leaving out each generated video in turn, done by hand."""
    rows, real = vectors(20, 4, 0.5), vectors(500, 5)
    stated = read(saved(tmp_path / "a.npz", real, n=500))
    found = sets.estimates(load("fvd"), table({"one": rows}), HOW, Statistics({"fvd": stated}))[0]
    without = np.array([frechet.frechet(np.delete(rows, i, axis=0), real) for i in range(20)])
    error = np.sqrt(19 / 20 * ((without - without.mean()) ** 2).sum())
    assert found.value == pytest.approx(frechet.frechet(rows, real), rel=1e-8)
    assert (found.high or 0) - (found.low or 0) == pytest.approx(2 * 2.093024 * error, rel=1e-5)  # Student's t, 19


def test_metrics_without_statistics_say_what_they_need(tmp_path: Path) -> None:
    stated = Statistics({"fvd": read(saved(tmp_path / "a.npz", vectors(30, 0)))})
    alone = table({"one": vectors(9, 1)})
    for name, why in (
        ("kid", "needs the real videos themselves, not their mean and covariance; give --reference"),
        ("precision", "needs the real videos themselves, not their mean and covariance; give --reference"),
        ("fvd_infinite", "needs the real videos themselves, not their mean and covariance; give --reference"),
        ("fid", "no real videos; give --reference, or --statistics fid=FILE"),
    ):
        (found,) = sets.estimates(load(name), alone, HOW, stated)
        assert (found.value, found.reasons) == (None, (why,))
    (found,) = sets.estimates(load("fvd"), table({"one": vectors(1, 1)}), HOW, stated)
    assert found.reasons == ("a set needs two videos",)


def test_two_files_of_different_networks_have_no_distance(tmp_path: Path) -> None:
    one, other = read(saved(tmp_path / "a.npz", vectors(9, 0))), read(saved(tmp_path / "b.npz", np.eye(4)))
    with pytest.raises(MetricError, match=r"different networks \(5 dimensions and 4 dimensions\)"):
        moments.estimates(load("fvd"), Statistics({"fvd": other}, {"a": one}))
    with pytest.raises(MetricError, match="arm ours: a statistics file stands for all"):
        gathered({"fvd": one.path}, {"ours": [one.path, Path("videos")]})


# -------------------------------------------------------------------------------------------- the command


def results(out: Path) -> dict[tuple[str, str], Result]:
    tree = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return {(r["metric"], r["arm"]): Result(**r) for r in tree["results"]}


def test_written_statistics_stand_for_the_videos(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for n in range(4):
        for folder in ("GEN", "REAL"):
            frames = rng.integers(0, 256, (5, 32, 48, 3), np.uint8)
            write_video(tmp_path / folder / f"{n}.mkv", frames, 16.0, lossless=True)
    gen, real, kept = tmp_path / "GEN", tmp_path / "REAL", tmp_path / "kept"
    cache = tmp_path / "cache"
    both = evaluate_folders(gen, real, metrics=("fvd", "fid"), cache=cache, write_statistics=kept)
    files = {name: kept / f"{name}.npz" for name in ("fvd", "fid")}
    evaluate_folders(gen, metrics=("fid", "kid"), cache=cache, statistics=files, out=tmp_path / "out")
    found = results(tmp_path / "out")
    for r in both:
        if r.arm == "generated":
            assert found[r.metric, r.arm].estimate == pytest.approx(r.estimate, rel=1e-8)
    assert found["kid", "generated"].estimate is None
    assert "needs the real videos themselves" in found["kid", "generated"].reason
    stated = read(kept / "fid.npz")
    assert stated.n == 4 * 5  # vectors, not videos
    meta = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["meta"]["statistics"]
    assert meta["real"]["fid"] == {"file": "fid.npz", "sha256": stated.sha256, "n": 20, "network": stated.network}


def test_published_statistics_against_an_independent_computation(shared: Path, tmp_path: Path) -> None:
    """UCF-101 in full and Kinetics-400, I3D logits, by the square root of the product of the covariances."""
    ucf, kinetics = (
        shared / "reference" / f"i3d_{name}_full_res128_len16_skip1_seed0.npz" for name in ("ucf101", "kinetics")
    )
    words = ["evaluate", "--arm", f"ucf={ucf}", "--statistics", f"fvd_stylegan_v={kinetics}"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    found = results(tmp_path / "out")
    assert list(found) == [("fvd_stylegan_v", "ucf")]
    one, other = (dict(np.load(path)) for path in (ucf, kinetics))
    root = np.trace(scipy.linalg.sqrtm(one["cov"] @ other["cov"]).real)
    expected = ((one["mean"] - other["mean"]) ** 2).sum() + np.trace(one["cov"]) + np.trace(other["cov"]) - 2 * root
    made = found["fvd_stylegan_v", "ucf"]
    assert made.estimate == pytest.approx(expected, rel=1e-6)
    assert (made.low, made.high, made.n) == (None, None, 13320)
    assert "n 13320) against statistics i3d_kinetics_full" in made.reason
    assert "no interval" in made.reason
    html = (tmp_path / "out" / "report" / "index.html").read_text(encoding="utf-8")
    assert "ucf (statistics i3d_ucf101_full_res128_len16_skip1_seed0.npz) against statistics i3d_kinetics" in html
