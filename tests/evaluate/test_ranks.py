"""Order, workers and processes change nothing; two processes share the work; a killed one has lost only its video."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from cinetune.errors import RunError
from cinetune.evaluate import features, ranks
from cinetune.evaluate.evaluator import measure
from cinetune.evaluate.features import Video
from cinetune.evaluate.inputs import assemble
from cinetune.footage.video_io import write_video
from cinetune.recipe import Evaluate
from cinetune.records import Result

ALL = Evaluate(metrics=("lpips", "fvd", "kid", "clip_text", "flicker", "psnr"), resamples=100)
PROMPTS = {f"{n:02}": f"clip {n} in the hills" for n in range(12)}
PROGRAM = """
import sys
from pathlib import Path
from cinetune.evaluate import features
from cinetune.evaluate.evaluator import measure
from cinetune.evaluate.inputs import assemble
from cinetune.recipe import Evaluate

gen, real, out, log, workers, *metrics = sys.argv[1:]
decode = features.read_any

def noted(path):
    with open(log, "a") as file:
        file.write(f"{path}\\n")
    return decode(path)

features.read_any = noted
videos = assemble({"generated": [Path(gen)]}, [Path(real)] if real else [])
done = measure(videos, Evaluate(metrics=tuple(metrics), resamples=100), seed=0, out=Path(out), workers=int(workers))
print(len(done.results))
"""


def start(root: Path, out: Path, metrics: Sequence[str], workers: int, **more: str) -> subprocess.Popen[str]:
    real = str(root / "clips") if (root / "clips").is_dir() else ""
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            PROGRAM,
            root / "tuned",
            real,
            out,
            f"{out}-{more.get('RANK', 0)}.log",
            str(workers),
            *metrics,
        ],
        env={**os.environ, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch with one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def decoded(out: Path) -> list[Counter[str]]:
    """What each process decoded, by its log."""
    logs = sorted(out.parent.glob(f"{out.name}-*.log"))
    return [Counter(log.read_text(encoding="utf-8").split("\n")[:-1]) for log in logs]


def videos_of(root: Path) -> list[Video]:
    return assemble({"tuned": [root / "tuned"], "base": [root / "base"]}, [root / "clips"], prompts=PROMPTS)


def test_neither_workers_nor_order_change_a_bit(root: Path, tmp_path: Path, one_thread: None) -> None:
    """With as many threads each: sums over another number of threads differ in the last bits."""
    videos = videos_of(root)
    alone = measure(videos, ALL, seed=0, out=tmp_path / "alone", workers=1)
    many = measure(videos, ALL, seed=0, out=tmp_path / "many", workers=3)
    assert many.results == alone.results
    for name in ("results.json", "scores.jsonl"):
        assert (tmp_path / "many" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    turned = {arm: sorted((root / arm).iterdir(), reverse=True) for arm in ("tuned", "base", "clips")}
    mixed = assemble({arm: turned[arm] for arm in ("tuned", "base")}, turned["clips"], prompts=PROMPTS)
    other = measure(mixed, ALL, seed=0, out=tmp_path / "mixed", cache=tmp_path / "alone" / "features")
    assert other.results == alone.results


def test_the_number_of_threads_changes_next_to_nothing(root: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    made = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            made.append(measure(videos_of(root), ALL, seed=0, out=tmp_path / str(threads), workers=1).results)
    finally:
        torch.set_num_threads(before)
    for one, other in zip(*made, strict=True):
        assert one.estimate == pytest.approx(other.estimate, rel=1e-5, abs=1e-5), one.metric


def test_each_worker_gets_its_share_of_the_threads(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = torch.get_num_threads(), set()
    real = features.read_any

    def noted(path: Path) -> np.ndarray:
        seen.add((threading.current_thread().name, torch.get_num_threads()))
        return real(path)

    monkeypatch.setattr(features, "read_any", noted)
    torch.set_num_threads(4)
    try:
        measure(videos_of(root), Evaluate(metrics=("flicker",)), seed=0, out=tmp_path, workers=2)
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
    assert {threads for _, threads in seen} == {2}
    assert len({name for name, _ in seen}) == 2


def test_one_that_fails_stops_the_others(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Path] = []

    def fail(path: Path) -> np.ndarray:
        begun.append(path)
        raise MemoryError

    monkeypatch.setattr(features, "read_any", fail)
    with pytest.raises(MemoryError):
        measure(videos_of(root), Evaluate(metrics=("flicker",)), seed=0, out=tmp_path, workers=2)
    assert len(begun) < 12


@pytest.mark.slow
def test_two_processes_share_the_work_and_the_first_has_the_results(root: Path, tmp_path: Path) -> None:
    metrics = ("lpips", "kid", "flicker")
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29631"}
    both = [start(root, tmp_path / "two", metrics, 1, RANK=str(rank), **meeting) for rank in range(2)]
    told = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert told[1][0].strip() == "0"
    shares = decoded(tmp_path / "two")
    assert sum(shares, Counter()) == Counter(str(p) for arm in ("tuned", "clips") for p in (root / arm).iterdir())
    assert [len(share) for share in shares] == [12, 12]
    alone = measure(
        assemble({"generated": [root / "tuned"]}, [root / "clips"]), Evaluate(metrics=metrics, resamples=100),
        seed=0, out=tmp_path / "one",
    )  # fmt: skip
    assert told[0][0].strip() == str(len(alone.results))
    tree = json.loads((tmp_path / "two" / "results.json").read_text(encoding="utf-8"))
    assert [Result(**r) for r in tree["results"]] == alone.results
    assert (tmp_path / "two" / "videos.jsonl").is_file()


def test_processes_that_cannot_meet_say_so(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(RunError, match="start with torchrun"):
        measure(videos_of(root), Evaluate(metrics=("flicker",)), seed=0, out=tmp_path)
    assert ranks.own_device(torch.device("cpu")) == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert ranks.own_device(torch.device("cuda")) == torch.device("cuda", 1)
    assert ranks.own_device(torch.device("cuda:0")) == torch.device("cuda", 0)


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_where_it_was(tmp_path: Path) -> None:
    """kill -9 in the middle of 200 videos: decoded twice is at most what each worker had in hand."""
    for n in range(200):
        noise = np.random.default_rng(n).integers(0, 256, (5, 32, 48, 3), np.uint8)
        write_video(tmp_path / "tuned" / f"{n:03}.mkv", noise, 16.0, lossless=True)
    out, workers = tmp_path / "out", 2
    first = start(tmp_path, out, ("kid", "flicker", "clip_frames"), workers)
    while not (out / "features").is_dir() or len(list(out.rglob("[0-9a-f]*.safetensors"))) < 60:
        assert first.poll() is None, first.communicate()
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    (before,) = decoded(out)
    kept = len(list(out.rglob("[0-9a-f]*.safetensors")))
    assert 60 <= kept < 200
    assert sum(before.values()) - kept <= workers
    again = start(tmp_path, out, ("kid", "flicker", "clip_frames"), workers)
    said = again.communicate(timeout=500)
    assert again.returncode == 0, said
    (after,) = decoded(out)
    assert len(after) == 200
    assert sum(after.values()) <= 200 + workers
    assert max(after.values()) <= 2
    assert (out / "results.json").is_file()
