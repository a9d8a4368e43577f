"""The whole path on the real nano: killed and started again it ends the same; real footage reaches a page."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cinetune.footage.procedural import render_film
from cinetune.footage.video_io import read_video
from cinetune.generate.ranking import Candidate
from cinetune.records import Clip, Result, Sample, read_records
from command_line import call, refused
from devtools import CHROMIUM, PLAYED, chromium

QUICK = (
    "train.steps=6", "train.batch=2", "train.accumulation=1", "train.save_every=2", "validation.every=3",
    "validation.clips=2", "validation.steps=2", "generate.steps=2", "generate.shots=1", "generate.segments=1",
    "evaluate.resamples=100", "footage.max_clips=24", "footage.max_test=3",
)  # fmt: skip


def command(films: list[Path], out: Path, *more: str) -> list[str]:
    settings = [part for change in QUICK for part in ("--set", change)]
    return [sys.executable, "-m", "cinetune", "run", *map(str, films), "--out", str(out), *settings, *more]


def tree(run: Path) -> dict[str, str]:
    """Hash of every file of a finished run but those that tell the time or the process."""
    timed = {"log.jsonl", "checkpoint.pt", "checkpoint-before.pt", "baselines.json", "summary.json", "environment.json"}
    files = {p.relative_to(run).as_posix(): p for p in run.rglob("*") if p.is_file() and p.parent.name != "tensorboard"}
    return {name: hashlib.sha256(p.read_bytes()).hexdigest() for name, p in files.items() if p.name not in timed}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    render_film(path, "historical", shots=10, seed=5, height=128, width=192)
    return path


@pytest.fixture(scope="module")
def whole(film: Path) -> Path:
    return carried_out(film, film.parent)


def carried_out(film: Path, folder: Path) -> Path:
    """Run to the end in folder/run; the command line, which the page repeats, is the same wherever that is."""
    done = subprocess.run(command([film], Path("run")), capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_a_run_leaves_its_records_and_its_page(whole: Path) -> None:
    samples = read_records(whole / "generate" / "samples.jsonl", Sample)
    assert {s.arm for s in samples} == {"base", "tuned", "static"}
    results = [Result(**r) for r in json.loads((whole / "evaluate" / "results.json").read_text())["results"]]
    assert {"base", "tuned", "static", "tuned - base"} <= {r.arm for r in results}
    assert all(r.estimate is not None or r.reason for r in results)
    page = (whole / "report" / "index.html").read_text()
    assert "LPIPS" in page
    adapter = json.loads((whole / "train" / "summary.json").read_text())
    assert (whole / "train" / adapter["adapter"]).is_file()


def test_the_same_command_again_changes_nothing(whole: Path, film: Path) -> None:
    before = tree(whole)
    assert tree(carried_out(film, whole.parent)) == before


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium: apt-get install chromium")
def test_its_page_plays_in_a_browser(whole: Path, tmp_path: Path) -> None:
    with chromium(tmp_path) as tab:
        tab.open(whole / "report" / "index.html")
        videos = tab.run(PLAYED)
    assert len(videos) > 8
    assert [v for v in videos if v[1] < 2 or not v[2]] == []
    assert tab.errors == []
    assert [url for url in tab.requests if not url.startswith(("file:", "data:"))] == []


def test_its_adapter_makes_a_shot_of_a_picture_and_a_prompt(whole: Path, tmp_path: Path) -> None:
    clip = next(c for c in read_records(whole / "footage" / "clips.jsonl", Clip) if c.split == "test")
    Image.fromarray(read_video(whole / "footage" / clip.video)[0][0]).save(tmp_path / "still.png")
    given = ("generate", "still.png", "--adapter", whole, "--out", "film")
    assert "for a picture give --prompt too" in refused(call(*given, cwd=tmp_path))
    assert "--prompt" in refused(call("generate", whole, "--prompt", "A man walks.", cwd=tmp_path))
    again = ("--prompt", "A man walks to the left.", "--seconds", "1.5", "--strength", "0.7", "--candidates", "2")
    done = call(*given, *again, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "film" / "film.json").read_text())
    (shot,) = told["shots"]
    assert shot["frames"] == 24
    assert shot["prompt"].startswith("A man walks to the left")
    assert all(word in shot["prompt"] for word in told["style"])
    candidates = read_records(tmp_path / "film" / "keyframes" / "candidates.jsonl", Candidate)
    assert [c.number for c in candidates] == [1, 2]
    assert all(c.grade is not None for c in candidates), "the training film's grade is known"
    arms = {result["arm"] for result in json.loads((tmp_path / "film" / "consistency.json").read_text())["results"]}
    assert arms == {"generated", "training"}


STAGES = {
    "prepare": "footage/cache/*.safetensors",
    "train": "train/log.jsonl",
    "generate": "generate/videos/*.mkv",
    "evaluate": "evaluate/features/**/*",
    "report": "report/index.html",
}


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_killed_in_any_stage_and_started_again_ends_with_the_same_page(
    whole: Path, film: Path, tmp_path: Path, stage: str
) -> None:
    run = tmp_path / "run"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command([film], Path("run")), cwd=tmp_path, **quiet)
    deadline = time.monotonic() + 400
    while not list(run.glob(STAGES[stage])) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert tree(carried_out(film, tmp_path)) == tree(whole)


@pytest.mark.slow
def test_a_big_buck_bunny_reaches_a_page(shared: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    subprocess.run(command([shared / "footage" / "film" / "big_buck_bunny_0_30.webm"], run), check=True)
    assert (run / "report" / "index.html").is_file()


@pytest.mark.slow
def test_many_short_films_of_people_reach_a_page(shared: Path, tmp_path: Path) -> None:
    films = sorted((shared / "footage" / "human").glob("*.mkv"))
    run = tmp_path / "run"
    subprocess.run(command(films, run), check=True)
    scenes = {json.loads(line)["scene"] for line in (run / "footage" / "clips.jsonl").read_text().splitlines()}
    assert len(scenes) >= 10
    assert (run / "report" / "index.html").is_file()


@pytest.mark.slow
@pytest.mark.longest
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_demo_makes_the_film_better_in_every_seed(tmp_path: Path, seed: int) -> None:
    """The claim of the README: paired LPIPS and KID differences whose 95 % intervals exclude zero."""
    subprocess.run(
        [sys.executable, "-m", "cinetune", "demo", "--out", str(tmp_path / "demo"), "--seed", str(seed)], check=True
    )
    told = json.loads((tmp_path / "demo" / "evaluate" / "results.json").read_text())
    found = {(r["metric"], r["arm"]): r for r in told["results"]}
    for metric in ("lpips", "kid"):
        difference = found[metric, "tuned - base"]
        print(f"seed {seed} {metric}: {difference['estimate']} [{difference['low']}, {difference['high']}]")
        assert difference["high"] < 0, f"{metric} did not clearly fall in seed {seed}"
    assert np.isfinite(found["lpips", "static"]["estimate"])
    if os.environ.get("CINETUNE_KEEP"):
        shutil.copytree(tmp_path / "demo", Path(os.environ["CINETUNE_KEEP"]) / f"demo-{seed}")
