"""The command line as a user meets it: real processes, real files, one line and exit code 2 for bad input."""

from pathlib import Path

import av
import numpy as np
import pytest

from cinetune.footage.procedural import render_film
from cinetune.footage.video_io import write_video
from command_line import call, refused


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of each kind of bad film."""
    folder = tmp_path_factory.mktemp("films")
    render_film(folder / "good.mp4", "historical", shots=4, seed=0, height=64, width=96)
    whole = (folder / "good.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("this is not a video\n" * 50)
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        stream.layout = "mono"
        for n in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.rate, frame.pts = 44100, 1024 * n
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    still = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    write_video(folder / "oneshot.mp4", (np.roll(still, n, axis=1) for n in range(60)), 16.0)
    cuts = (np.full((64, 96, 3), 60 * (n // 5) % 255, np.uint8) ^ still for n in range(20))
    write_video(folder / "short.mp4", cuts, 16.0)
    return folder


@pytest.mark.parametrize(
    ("film", "says"),
    [
        ("nosuch.mp4", "no such file"),
        ("truncated.mp4", "truncated"),
        ("empty.mp4", "empty"),
        ("text.mp4", "not a video"),
        ("sound.mp4", "no video"),
        ("oneshot.mp4", "only one shot"),
        ("short.mp4", "longest shot"),
    ],
)
def test_bad_films(films: Path, tmp_path: Path, film: str, says: str) -> None:
    line = refused(call("run", films / film, "--out", tmp_path / "run", cwd=tmp_path))
    assert says in line
    assert film in line
    left = [p.relative_to(tmp_path) for p in tmp_path.rglob("*.mkv")] + list(tmp_path.rglob("clips.jsonl"))
    assert left == [], "nothing half-written"


def test_unwritable_output(films: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    line = refused(call("run", films / "good.mp4", "--out", tmp_path / "file" / "run", cwd=tmp_path))
    assert "cannot write here" in line


def test_recipe_mistakes(films: Path, tmp_path: Path) -> None:
    def said(*arguments: str) -> str:
        return refused(call("run", films / "good.mp4", "--out", tmp_path / "run", *arguments, cwd=tmp_path))

    assert "did you mean train.steps" in said("--set", "train.stepz=3")
    assert "lora.rank" in said("--set", "lora.rank=0")
    assert "4n + 1" in said("--set", "footage.frames=16")
    assert "section.field=value" in said("--set", "train.steps")
    assert "presets: " in said("--recipe", "papre")
    assert "nano" in said("--model", "nanoo")
    assert not (tmp_path / "run").exists()


def test_run_folder_of_another_recipe(films: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = call("prepare", films / "good.mp4", "--out", run, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert (run / "footage" / "clips.jsonl").is_file()
    line = refused(call("run", films / "good.mp4", "--out", run, "--set", "lora.rank=4", cwd=tmp_path))
    assert "belongs to recipe" in line


def test_stages_out_of_order_name_the_command_to_run(tmp_path: Path) -> None:
    for verb in ("train", "generate", "evaluate", "report"):
        assert "no recipe.json" in refused(call(verb, tmp_path, cwd=tmp_path))


def test_help_and_version(tmp_path: Path) -> None:
    assert "demo" in call("--help", cwd=tmp_path).stdout
    assert call("--version", cwd=tmp_path).stdout.startswith("cinetune 0.")
