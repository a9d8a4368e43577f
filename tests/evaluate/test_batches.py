"""Networks that take several videos at once: the same numbers, small batches, and little lost by a kill."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cinetune.evaluate import features
from cinetune.evaluate.features import Video, look_at
from cinetune.evaluate.store import Store
from cinetune.footage.video_io import write_video
from cinetune.metrics._contract import Look
from cinetune.metrics._video_set import look, look_many
from cinetune.metrics.backbones._contract import BatchVideoEye, Identity

LOOKS = [
    Look("video", "1", "video", look, many=look_many),
    Look("length", "1", None, lambda item, _: {"frames": np.array([float(len(item.frames))])}),
    Look("pair", "1", None, lambda item, _: {"same": (item.frames == item.reference).mean((1, 2, 3))}, pair=True),
]


class Eye:
    """Sees the mean of each channel; notes how many videos came at once."""

    identity = Identity("eye", "1", "", "0")
    least_frames = 3

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self.batches: list[list[int]] = []

    def video(self, frames: np.ndarray) -> np.ndarray:
        self.batches.append([len(frames)])
        return np.asarray(frames.mean((0, 1, 2)))

    def videos(self, videos: Sequence[np.ndarray]) -> np.ndarray:
        self.batches.append([len(frames) for frames in videos])
        return np.stack([frames.mean((0, 1, 2)) for frames in videos])


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Video]:
    """Twenty generated ones of 4 or 6 frames with their references, one too short, one that cannot be read."""
    root = tmp_path_factory.mktemp("videos")
    made = []
    for n in range(22):
        count = 2 if n == 20 else 4 + 2 * (n % 3 == 0)
        frames = np.random.default_rng(n).integers(0, 256, (count, 16, 24, 3), np.uint8)
        own, true = root / "gen" / f"{n:02}.mkv", root / "real" / f"{n:02}.mkv"
        write_video(true, frames, 16.0, lossless=True)
        write_video(own, frames ^ np.uint8(n % 2), 16.0, lossless=True)
        if n == 21:
            own.write_bytes(b"not a video")
        for path, arm in ((own, "generated"), (true, "real")):
            made.append(Video(f"{n:02}", arm, f"{n:02}", f"{n:02}", path, true, "", matched=True, still=False))
        made.append(Video(f"{n:02}", "static", f"{n:02}", f"{n:02}", true, true, "", matched=True, still=True))
    return made


def seen(videos: Sequence[Video], folder: Path, eye: Eye, workers: int = 1) -> dict[tuple[str, str, str], object]:
    store = Store(folder)
    told: list[int] = []
    found = look_at(
        videos, LOOKS, {"video": eye}, store, workers=workers, progress=lambda done, total: told.append(done)
    )
    assert told[-1] == len(videos)
    assert told == sorted(told)
    out: dict[tuple[str, str, str], object] = {}
    for video, became in zip(videos, found, strict=True):
        assert became is not None
        out[video.arm, video.id, "problem"] = became.problem
        for name, place in became.places.items():
            saw = place if isinstance(place, str) else store.load(place)
            out[video.arm, video.id, name] = saw if isinstance(saw, str) else [*next(iter(saw.values()))]
    return out


def test_neither_batch_nor_order_nor_workers_change_a_bit(videos: list[Video], tmp_path: Path) -> None:
    alone = Eye(1)
    assert isinstance(alone, BatchVideoEye)
    expected = seen(videos, tmp_path / "alone", alone)
    assert "not a video" in str(expected["generated", "21", "problem"])
    assert "2 frames; eye needs at least 3" in str(expected["generated", "20", "video"])
    for at_once, workers in ((2, 1), (5, 1), (4, 3), (1000, 2)):
        assert seen(videos, tmp_path / f"{at_once}", Eye(at_once), workers) == expected
    assert seen(videos[::-1], tmp_path / "turned", Eye(5)) == expected
    files = [sorted(p.name for p in (tmp_path / one).rglob("*.safetensors")) for one in ("alone", "5", "turned")]
    assert files[0] == files[1] == files[2]


def test_batches_are_full_of_one_length_and_made_once(videos: list[Video], tmp_path: Path) -> None:
    eye = Eye(5)
    seen(videos, tmp_path, eye)
    assert all(len(set(batch)) == 1 and len(batch) <= 5 for batch in eye.batches)
    assert max(map(len, eye.batches)) > 1
    assert sum(map(len, eye.batches)) == 3 * 20 + 2  # the reference of the damaged one, and its first frame
    again = Eye(5)
    seen(videos, tmp_path, again)
    assert not again.batches


def test_large_videos_do_not_wait(videos: list[Video], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "MOST_WAITING", 3 * 6 * 16 * 24 * 3)
    eye = Eye(1000)
    seen(videos, tmp_path, eye)
    assert 1 < max(map(len, eye.batches)) <= 5  # four frames each; one more than fit is when it stops


PROGRAM = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_batches
from cinetune.evaluate import features
from cinetune.evaluate.store import Store

class Slow(test_batches.Eye):
    def videos(self, videos):
        time.sleep(0.02)
        return super().videos(videos)

decode = features.read_any
def noted(path):
    with open(sys.argv[3], "a") as file:
        file.write(path.name + "\\n")
    return decode(path)
features.read_any = noted

def made(path):
    return features.Video(path.stem, "generated", path.stem, path.stem, path, None, "", matched=True)

videos = [made(path) for path in sorted(Path(sys.argv[2]).iterdir())]
features.look_at(videos, test_batches.LOOKS[:2], {"video": Slow(4)}, Store(Path(sys.argv[4])), workers=2)
"""


@pytest.mark.slow
def test_a_kill_loses_no_more_than_two_workers_had_in_hand(tmp_path: Path) -> None:
    for n in range(200):
        frames = np.random.default_rng(n).integers(0, 256, (4, 16, 24, 3), np.uint8)
        write_video(tmp_path / "gen" / f"{n:03}.mkv", frames, 16.0, lossless=True)
    log, store = tmp_path / "log", tmp_path / "store"
    words = [sys.executable, "-c", PROGRAM, str(Path(__file__).parent), str(tmp_path / "gen"), str(log), str(store)]

    def kept() -> int:
        return len(list(store.rglob("[0-9a-f]*.safetensors")))

    def decoded() -> list[str]:
        return log.read_text(encoding="utf-8").split("\n")[:-1]

    first = subprocess.Popen(words, env=dict(os.environ), stderr=subprocess.PIPE, text=True)
    while kept() < 60:
        assert first.poll() is None, first.communicate()
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    before = kept()
    assert 60 <= before < 200
    assert len(decoded()) - before <= 2 * 4  # workers x videos at once
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert kept() == 200
    assert len(decoded()) <= 200 + 2 * 4
