"""Every way a video can be wrong: one clear line each, the rest still measured, and the count comes out."""

import json
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from cinetune.errors import MetricError, WeightsError
from cinetune.evaluate.evaluation import Evaluation
from cinetune.evaluate.evaluator import measure
from cinetune.evaluate.features import look_at
from cinetune.evaluate.inputs import assemble
from cinetune.evaluate.store import Store
from cinetune.footage.video_io import write_video
from cinetune.metrics._contract import Features, Item, Look
from cinetune.metrics.backbones._contract import Identity
from cinetune.recipe import Evaluate
from cinetune.records import Evaluated, Score, read_records

SECTION = Evaluate(metrics=("psnr", "flicker", "kid"), resamples=100)
GOOD = ("good", "odd", "deep", "uneven", "huge", "loop", "moving", "shot")
BROKEN = {
    "empty": "an empty file (0 bytes)",
    "cut": "cut off",
    "text": "not a video but a text|not a video that FFmpeg can read",
    "sound": "no video stream",
    "gone": "no such file",
    "caf\\xe9": "its name is not UTF-8",
    "gap": "missing after number 2",
}


def noise(frames: int, height: int = 32, width: int = 48) -> np.ndarray:
    return np.random.default_rng(frames).integers(0, 256, (frames, height, width, 3), np.uint8)


def encode(path: Path, codec: str, pix_fmt: str, times: list[int], frames: np.ndarray) -> None:
    """Any codec, pixel format and frame times, in 1/16 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=16)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = Fraction(1, 16)
        for at, picture in zip(times, frames, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = at, Fraction(1, 16)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def silent(path: Path) -> None:
    """Sound without pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        stream.layout = "mono"
        for n in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.rate, frame.pts = 44100, 1024 * n
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """gen/ and real/: good videos of every form, and one of each kind of bad ones."""
    root = tmp_path_factory.mktemp("bad")
    gen, real = root / "gen", root / "real"
    gen.mkdir()
    for folder in (real, gen):
        for name in ("good", "one", "lost"):
            write_video(folder / f"{name}.mkv", noise(1 if name == "one" else 5), 16.0, lossless=True)
        write_video(folder / "odd.mkv", noise(5, 33, 47), 16.0, lossless=True)
        write_video(folder / "huge.mkv", noise(2, 2160, 3840) // 8 * 8, 16.0, lossless=True)
        encode(folder / "deep.mkv", "ffv1", "yuv420p10le", [0, 1, 2, 3, 4], noise(5))
        encode(folder / "uneven.mp4", "libx264", "yuv420p", [0, 1, 5, 6, 11], noise(5))
        encode(folder / "loop.gif", "gif", "rgb8", [0, 2, 4], noise(3))
        first, *rest = [Image.fromarray(frame) for frame in noise(4)]
        first.save(folder / "moving.webp", save_all=True, append_images=rest, duration=40, lossless=True)
        (folder / "shot").mkdir()
        for n, frame in enumerate(noise(4)):
            Image.fromarray(frame).save(folder / "shot" / f"{n:04}.png")
    whole = (real / "uneven.mp4").read_bytes()
    (real / "lost.mkv").write_bytes(b"")  # a broken reference of a good video
    (gen / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (gen / "empty.mp4").write_bytes(b"")
    (gen / "text.mp4").write_text("this is not a video\n" * 50)
    silent(gen / "sound.mp4")
    (gen / "gone.mp4").symlink_to(root / "nowhere.mp4")
    Path(os.fsdecode(os.fsencode(gen) + b"/caf\xe9.mp4")).write_bytes(whole)
    (gen / "gap").mkdir()
    for n in (1, 2, 4):
        Image.fromarray(noise(1)[0]).save(gen / "gap" / f"{n}.png")
    return root


@pytest.fixture(scope="module")
def done(folders: Path) -> Evaluation:
    videos = assemble({"generated": [folders / "gen"]}, [folders / "real"])
    return measure(videos, SECTION, seed=0, out=folders / "out")


def problems(done: Evaluation, arm: str = "generated") -> dict[str, str]:
    return {v.id: v.problem for v in done.videos if v.arm == arm and v.problem}


def test_each_broken_video_has_one_line(done: Evaluation) -> None:
    found = problems(done)
    assert sorted(found) == sorted(BROKEN)
    for name, problem in found.items():
        assert any(part in problem for part in BROKEN[name].split("|")), problem
        assert name.split(".")[0] in problem
        assert "\n" not in problem
    assert list(problems(done, "real")) == ["lost"]
    assert len(done.broken) == len(BROKEN) + 1  # the held frame of the broken reference is the same file
    assert not done.whole


def test_the_rest_is_measured(done: Evaluation, folders: Path) -> None:
    scores = {(s.metric, s.arm, s.item): s for s in read_records(folders / "out" / "scores.jsonl", Score)}
    for name in GOOD:
        assert scores["flicker", "generated", name].value is not None
        assert (
            scores["psnr", "generated", name].reason == "all frames are equal to the reference: the ratio is infinite"
        )
        assert scores["psnr", "static", name].value is not None
    assert "its reference cannot be read" in scores["psnr", "generated", "lost"].reason
    assert "empty file" in scores["psnr", "generated", "lost"].reason
    assert scores["flicker", "generated", "lost"].value is not None
    kid = next(r for r in done.results if (r.metric, r.arm) == ("kid", "generated"))
    assert kid.n == len(GOOD) + 1  # with "one", less "lost" on the side of the real ones


def test_a_single_frame_is_said(done: Evaluation, folders: Path) -> None:
    assert [line for line in done.short if str(folders / "gen" / "one.mkv") in line]
    assert len(done.short) == 2  # that of the reference, too
    assert all("a single frame" in line for line in done.short)


def test_every_video_has_its_record(done: Evaluation, folders: Path) -> None:
    videos = read_records(folders / "out" / "videos.jsonl", Evaluated)
    assert videos == done.videos
    huge = next(v for v in videos if (v.id, v.arm) == ("huge", "generated"))
    assert (huge.frames, huge.height, huge.width) == (2, 2160, 3840)
    assert huge.video == "../gen/huge.mkv"
    assert huge.reference == "../real/huge.mkv"
    held = [v for v in videos if v.still]
    assert {v.arm for v in held} == {"static"}
    assert all(v.video == v.reference for v in held)
    text = (folders / "out" / "results.json").read_text(encoding="utf-8")
    assert json.loads(text)["results"]


def test_nothing_to_measure_is_an_error(folders: Path, tmp_path: Path) -> None:
    bad = [folders / "gen" / name for name in ("empty.mp4", "text.mp4", "gone.mp4")]
    with pytest.raises(MetricError, match=r"none of the 3 generated videos can be read; the first: .*empty file"):
        measure(assemble({"generated": bad}, [folders / "real"]), SECTION, seed=0, out=tmp_path)


class Eye:
    """A network that sees nothing but what it is told to."""

    identity = Identity("blind", "1", "none", "0" * 64)
    least_frames = 4

    def __init__(self, sees: float) -> None:
        self.sees = sees


def through(eye: Eye, folders: Path, store: Path) -> Callable[[], str]:
    def features(item: Item, loaded: Eye) -> Features:
        return {"all": np.full(3, loaded.sees)}

    videos = assemble({"generated": [folders / "gen" / name for name in ("good.mkv", "huge.mkv")]}, [])
    found = look_at(videos, [Look("blind", "1", "role", features)], {"role": eye}, Store(store))
    return lambda: "; ".join(one.short for one in found if one and one.short)


def test_too_few_frames_for_a_network(folders: Path, tmp_path: Path) -> None:
    assert through(Eye(1.0), folders, tmp_path)() == "2 frames; blind needs at least 4"


def test_a_network_that_sees_no_numbers_is_damaged(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"blind 1 .* is not a number in .*good\.mkv"):
        through(Eye(float("nan")), folders, tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))  # nothing of it is kept
