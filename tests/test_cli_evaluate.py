"""`cinetune evaluate`: every command that its page shows is run; exit codes; where the store is."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from cinetune import files
from cinetune.cli import app
from cinetune.errors import CinetuneError, MetricError, WeightsError
from cinetune.footage.video_io import write_video
from cinetune.models._wan import WanModel
from cinetune.records import Evaluated, Sample, read_records, write_records
from cinetune.report import evaluation
from test_docs import ROOT, commands
from tiny_run import prepare_tiny, tiny_recipe

SHOWN = [words for _, words in commands(ROOT / "docs" / "evaluate.md")]


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (5, 32, 48, 3), np.uint8)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders and files that the page names, with small videos."""
    root = tmp_path_factory.mktemp("place")
    for number, folder in enumerate(("GENERATED", "OURS", "THEIRS", "REAL", "CLIPS")):
        for n in range(3):
            write_video(root / folder / f"{n}.mkv", noise(10 * number + n), 16.0, lossless=True)
    (root / "STATISTICS").mkdir()
    for name, width in {"STATISTICS/fvd": 64, "STATISTICS/fid": 96, "ucf101": 400, "theirs": 64}.items():
        np.savez(root / f"{name}.npz", mu=np.zeros(width), sigma=np.eye(width))
    (root / "prompts.tsv").write_text("0\tHills.\n1\tFog.\n", encoding="utf-8")
    line = {"video": "OURS/0.mkv", "reference": "REAL/1.mkv", "caption": "Fog.", "arm": "ours", "cluster": "coast"}
    (root / "manifest.jsonl").write_text(json.dumps(line), encoding="utf-8")
    return root


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(place)
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    yield place
    for folder in ("evaluation", "results"):
        shutil.rmtree(place / folder, ignore_errors=True)


def generated_run(tiny: WanModel, folder: Path) -> Path:
    """A run folder as far as generate, whose videos are the clips themselves."""
    recipe = tiny_recipe(tiny, evaluate__metrics='["psnr", "grade"]', evaluate__resamples="100")
    run = prepare_tiny(folder, tiny, recipe)
    samples = [
        Sample(f"tuned-{n}", "tuned", f"clip-{n}", "", n, f"{n}.mkv", f"../footage/clips/clip-{n}.mkv", "", 1, 1.0, 1.0)
        for n in (8, 9, 10)
    ]
    for n in (8, 9, 10):
        write_video(run / "generate" / f"{n}.mkv", noise(n), 16.0, lossless=True)
    write_records(run / "generate" / "samples.jsonl", samples)
    return run


@pytest.mark.parametrize("words", [w for w in SHOWN if w[-1] != "RUN"], ids=" ".join)
def test_every_command_of_the_page_runs(words: list[str], here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "build_page", lambda out: out / "report" / "index.html")  # tests of its own
    done = call(*words[1:], *([] if "--resamples" in words or "manifest.jsonl" in words else ["--resamples", "100"]))
    if "published" in words:  # no weights here: one line says which
        assert isinstance(done.exception, WeightsError)
        assert "i3d_torchscript.pt" in str(done.exception)
        return
    assert done.exit_code == 0, done.output
    out = here / ("results" if "--out" in words else "evaluation")
    assert {"results.json", "scores.jsonl", "videos.jsonl"} <= {path.name for path in out.iterdir()}
    assert "open " in done.stdout.splitlines()[-1]
    assert "peak memory" in done.stderr
    store = here / ("features" if "--cache" in words else "cache/cinetune/features")
    assert list(store.rglob("*.safetensors")) or "theirs.npz" in words
    if "--plan" in words:
        assert "pilot" in done.stdout
    if "--training" in words:
        assert {v.arm for v in read_records(out / "videos.jsonl", Evaluated)} >= {"training"}


def test_a_run_is_measured_by_its_recipe(tiny: WanModel, tmp_path: Path) -> None:
    run = generated_run(tiny, tmp_path / "run")
    done = call("evaluate", run)
    assert done.exit_code == 0, done.output
    videos = read_records(run / "evaluate" / "videos.jsonl", Evaluated)
    assert sum(v.arm == "training" for v in videos) == 6
    assert {v.video.split("/")[1] for v in videos} == {"generate", "footage"}  # relative: a run can be moved
    results = json.loads((run / "evaluate" / "results.json").read_text(encoding="utf-8"))
    assert {r["metric"]: r["estimate"] is not None for r in results["results"]} == {"psnr": True, "grade": True}
    assert results["meta"]["clusters"]["clip-8"] == "scene-8"
    refused = call("evaluate", run, "--metrics", "psnr").exception
    assert isinstance(refused, MetricError)
    assert "as its recipe says" in str(refused)


def test_what_is_left_out_is_counted_and_changes_the_exit_code(here: Path) -> None:
    shutil.copytree("GENERATED", "some")
    (here / "some" / "bad.mp4").write_text("not a video")
    write_video(here / "some" / "one.mkv", noise(0)[:1], 16.0, lossless=True)
    done = call("evaluate", "some", "--reference", "REAL", "--metrics", "psnr,flicker")
    assert done.exit_code == 3, done.output
    assert "left out: 1 of everything, 1 of some metrics" in done.stdout.splitlines()[-1]
    assert [line for line in done.stderr.splitlines() if line.startswith("left out: some/bad.mp4: not a video")]
    assert [line for line in done.stderr.splitlines() if line.startswith("left out: some/one.mkv: a single frame")]
    assert (here / "evaluation" / "report" / "index.html").is_file()


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["GENERATED"], "no recipe.json"),
        (["--reference", "REAL"], "no generated videos"),
        (["GENERATED", "--reference", "none"], "no such folder or video"),
        (["GENERATED", "--reference", "REAL", "--arm", "ours"], "--arm ours: write NAME=PATH"),
        (["GENERATED", "--reference", "REAL", "--metrics", "lpip"], "did you mean lpips"),
        (["GENERATED", "--reference", "REAL", "--level", "2"], "--level 2"),
        (["GENERATED", "--reference", "REAL", "--backbone", "i3d=x"], "add --weights published"),
        (["GENERATED", "--reference", "REAL", "--backbone", "i4d=x"], "did you mean i3d"),
        (["GENERATED", "--statistics", "fvd"], "--statistics fvd: write NAME=PATH"),
        (["GENERATED", "--statistics", "fvd=a.npz", "--statistics", "fvd=b.npz"], "two paths for one metric"),
        (["GENERATED", "--statistics", "fvd=none.npz"], "none.npz: no such file"),
        (["GENERATED", "--statistics", "fvd=prompts.tsv"], "prompts.tsv: no statistics file"),
        (["GENERATED", "--statistics", "kid=theirs.npz"], "kid: this metric needs the real videos themselves"),
        (["theirs.npz"], "statistics are compared with statistics"),
        (["theirs.npz", "GENERATED", "--statistics", "fvd=theirs.npz"], "give nothing else with it"),
        (["GENERATED", "--metrics", "flicker", "--write-statistics", "W"], "no statistics to write"),
        (["--arm", "a=OURS", "--arm", "b=REAL", "--metrics", "fvd", "--write-statistics", "W"], "There are 2 arms"),
    ],
)
def test_a_wrong_command_is_one_line(here: Path, words: list[str], match: str) -> None:
    error = call("evaluate", *words).exception
    assert isinstance(error, CinetuneError)  # which the program turns into exit code 2
    assert match in str(error)
    assert "\n" not in str(error)
    assert not (here / "evaluation").exists()


def test_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("XDG_CACHE_HOME", "/data")
    monkeypatch.setattr("sys.platform", "linux")
    assert files.user_cache() == Path("/data/cinetune")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert files.user_cache() == Path("/home/ada/.cache/cinetune")
    monkeypatch.setattr("sys.platform", "darwin")
    assert files.user_cache() == Path("/home/ada/Library/Caches/cinetune")
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert files.user_cache() == Path("/local/cinetune")
