"""A storyboard from one command to a film: what is on disk, what is made again, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from cinetune.adapters import lora
from cinetune.errors import CinetuneError, RecipeError, RunError, WeightsError
from cinetune.files import sha256
from cinetune.footage.deep_video import load_deep
from cinetune.generate import film as module
from cinetune.generate.choices import read_choices
from cinetune.generate.film import make_film
from cinetune.generate.storyboard import load_board
from cinetune.generate.wishes import Wishes
from cinetune.models._wan import WanModel
from tiny_kinds import build

CPU = torch.device("cpu")
HEAD = """
height = 32
width = 48
fps = 8
[sampling]
steps = 2
guidance = 1.0
window = 9
overlap = 5
"""
SHOTS = """
[[shot]]
name = "one"
prompt = "A red car drives to the left."
still = "one.png"
frames = 17

[[shot]]
name = "two"
prompt = "Two birds fly over the sea."
reference = "two.png"
seconds = 1

[[shot]]
name = "three"
prompt = "Two birds fly over the sea."
after = "previous"
seconds = 1.5
"""


def picture(path: Path, seed: int, size: tuple[int, int] = (48, 32)) -> None:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    picture(tmp_path / "one.png", 1)
    picture(tmp_path / "two.png", 2, (96, 48))

    def board(text: str = HEAD + SHOTS, name: str = "board.toml") -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return board


def make(board: Path, out: Path, model: WanModel, **changes: Any) -> dict[str, str]:
    """Make a film and return the hash of every file that must be the same for the same board."""
    adapters = changes.pop("adapters", [])
    wishes = Wishes(**({"candidates": 2, "weights": "nano"} | changes))
    make_film(load_board(board), out, str(model.folder), adapters, wishes, device=CPU)
    kept = ("*.mkv", "*.png", "*.mp4", "*.mov", "*.jsonl", "shots/*.json", "consistency.json", "choice.toml")
    return {str(f.relative_to(out)): sha256(f) for pattern in kept for f in sorted(out.rglob(pattern))}


def test_a_film_of_three_shots(
    write: Callable[..., Path], tiny: WanModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "film"
    made = make(write(), out, tiny, formats=("h264", "prores", "exr"))
    told = json.loads((out / "film.json").read_text())
    assert [shot["frames"] for shot in told["shots"]] == [17, 8, 12]
    with av.open(str(out / "film.mp4")) as film:
        stream = film.streams.video[0]
        assert (sum(1 for _ in film.decode(stream)), stream.width, stream.height) == (37, 48, 32)
        assert float(stream.average_rate or 0) == 8
    assert len(list((out / "frames-exr").glob("frames-exr.*.exr"))) == 37
    assert (out / "film-prores.mov").is_file()
    assert not (out / "windows").exists()
    shots = {path.stem[3:].rsplit("-", 1)[0]: load_deep(path) for path in sorted((out / "shots").glob("*.mkv"))}
    assert not np.array_equal(shots["three"][0], shots["two"][-1]), "the frame it goes on from is not shown twice"
    said = capsys.readouterr()
    assert "two.png: 48x96 (height x width) has another shape than 32x48" in said.err
    assert "3 shots, 4.6 s of film" in said.out
    assert [f.name for f in (out / "keyframes").glob("crop-*")] == ["crop-two-reference.png"]
    assert make(write(), tmp_path / "again", tiny, formats=("h264", "prores", "exr")) == made


def test_what_is_there_is_not_made_again_and_what_hangs_on_a_change_is(
    write: Callable[..., Path], tiny: WanModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "film"
    first = make(write(), out, tiny)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("nothing is to be made")

    with monkeypatch.context() as patched:
        patched.setattr(module, "open_studio", refuse)
        assert make(write(), out, tiny) == first
    changed = make(write(HEAD + SHOTS.replace("seconds = 1\n", "seconds = 1\nseed = 9\n")), out, tiny)

    def shots(files: dict[str, str]) -> dict[str, str]:
        return {name[9:12]: digest for name, digest in files.items() if name.startswith("shots") and "mkv" in name}

    assert shots(changed)["one"] == shots(first)["one"]
    assert shots(changed)["two"] != shots(first)["two"]
    assert shots(changed)["thr"] != shots(first)["thr"]
    assert make(write(), tmp_path / "fresh", tiny) == make(write(), out, tiny) == first


def test_keyframes_are_chosen_by_hand(
    write: Callable[..., Path], tiny: WanModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "film"
    make(write(), out, tiny, choose="ask")
    assert "contact-sheet.png" in capsys.readouterr().out
    assert not (out / "film.mp4").exists()
    sheet = out / "keyframes" / "choice.toml"
    best = int(sheet.read_text().split("two = ")[1][0])
    taken = make(write(), out, tiny)
    other = make(write(), out, tiny, choose=f"two={3 - best}")
    assert f"two = {3 - best}" in sheet.read_text()
    assert make(write(), out, tiny) == other, "choice.toml keeps it"
    names = {film: [name for name in files if "mkv" in name] for film, files in (("taken", taken), ("other", other))}
    assert names["taken"][0] == names["other"][0]
    assert not set(names["taken"][1:]) & set(names["other"][1:]), "the shot, and the one that goes on from it"
    sheet.write_text("three = 1\n")
    with pytest.raises(RecipeError, match="no shot 'three' with candidates"):
        make(write(), out, tiny)


def test_what_nobody_chose_is_not_kept_as_a_choice(write: Callable[..., Path], tiny: WanModel, tmp_path: Path) -> None:
    """The best of other candidates is another one, and a board may lose a shot."""
    out = tmp_path / "film"
    make(write(), out, tiny)
    assert read_choices(out / "keyframes" / "choice.toml", {"two": 2}) == {}
    (out / "keyframes" / "01-my-own-note-2.png").write_bytes((tmp_path / "one.png").read_bytes())
    alone = SHOTS.replace('name = "two"', 'name = "other"')
    make(write(HEAD + alone), out, tiny)
    assert (out / "keyframes" / "01-my-own-note-2.png").is_file()


def adapter_of(model: WanModel, path: Path, *, image: bool = True) -> Path:
    network = model.load_transformer(CPU, torch.float32)
    lora.inject(network, model.adapter_targets(image_projections=image), rank=2, alpha=2.0, seed=0)
    for weight in lora.parameters(network):
        weight.data = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) * 0.2
    lora.save(path, network)
    return path


def test_an_adapter_changes_every_shot_and_a_strength_is_part_of_it(
    write: Callable[..., Path], tiny: WanModel, tmp_path: Path
) -> None:
    file = adapter_of(tiny, tmp_path / "style.safetensors")
    films = [
        make(write(), tmp_path / f"film-{n}", tiny, adapters=given)
        for n, given in enumerate(([], [str(file)], [f"{file}:0.5"]))
    ]
    shots = [{name: d for name, d in film.items() if name.startswith("shots")} for film in films]
    assert not set(shots[0].values()) & set(shots[1].values())
    assert not set(shots[1]) & set(shots[2]), "another key"


@pytest.mark.parametrize(
    ("change", "wishes", "error", "says"),
    [
        ({}, {"formats": ("mpeg2",)}, CinetuneError, "mpeg2"),
        ({}, {"speed": "slow"}, RecipeError, "--speed slow: choose exact, balanced, fast"),
        ({}, {"levers": ("warp",)}, CinetuneError, "no lever named 'warp'"),
        ({}, {"parallel": "segments=2"}, RecipeError, "2 processes, and 1 were started"),
        ({}, {"precision": "fp8"}, RecipeError, "--precision fp8: choose auto, fp32 or bf16"),
        ({'still = "one.png"\n': ""}, {}, RecipeError, 'shot 1 \\("one"\\): no still, no reference'),
        ({'still = "one.png"': 'still = "gone.png"'}, {}, RecipeError, "missing keyframe: there is no file"),
        ({"frames = 17": "frames = 18"}, {}, RecipeError, "18 is not 4n \\+ 1.*give 17 or 21"),
        ({"height = 32": "height = 40"}, {}, RecipeError, "40 is not a multiple of 16"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_before_any_work(
    write: Callable[..., Path], tiny: WanModel, tmp_path: Path, change: dict[str, str], wishes: dict[str, Any],
    error: type[CinetuneError], says: str,
) -> None:  # fmt: skip
    text = HEAD + SHOTS
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(error, match=says):
        make(write(text), tmp_path / "film", tiny, **wishes)
    assert not (tmp_path / "film").exists()


def test_a_text_to_video_model_begins_from_the_prompt(
    write: Callable[..., Path], tiny: WanModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = build(tiny, tmp_path / "model", "t2v")
    text = HEAD + SHOTS.replace('still = "one.png"\n', "").replace("A red car", "A red car " * 400)
    made = make(write(text), tmp_path / "film", model)
    assert sum(name.startswith("shots") and name.endswith(".mkv") for name in made) == 3
    said = capsys.readouterr().err
    assert 'shot 1 ("one")' in said
    assert "the network reads 512; these words at the end are cut off" in said


def test_a_model_of_first_and_last_frames(write: Callable[..., Path], tiny: WanModel, tmp_path: Path) -> None:
    model = build(tiny, tmp_path / "model", "first and last")
    with pytest.raises(RecipeError, match="is told a first and a last frame of one window"):
        make(write(), tmp_path / "film", model)
    shot = HEAD + '[[shot]]\nprompt = "A red car."\nstill = "one.png"\nlast = "two.png"\nframes = 9\n'
    made = make(write(shot), tmp_path / "film", model)
    assert any(name.startswith("shots") for name in made)


def test_a_full_disk_keeps_the_shots_that_are_finished(
    write: Callable[..., Path], tiny: WanModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real = tmp_path / "film", module.write_film

    def full(*args: Any, **kwargs: Any) -> int:
        raise RunError("film.mp4: the disk is full; free some space and run this again")

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_film", full)
        with pytest.raises(RunError, match="the disk is full"):
            make(write(), out, tiny)
    assert len(list((out / "shots").glob("*.json"))) == 3
    with monkeypatch.context() as patched:
        patched.setattr(module, "open_studio", full)
        make(write(), out, tiny)
    assert (out / "film.mp4").is_file()
    assert module.write_film is real


def test_a_folder_of_somebody_else_is_left_alone(write: Callable[..., Path], tiny: WanModel, tmp_path: Path) -> None:
    out = tmp_path / "film"
    out.mkdir()
    (out / "diary.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty and not a film"):
        make(write(), out, tiny)
    assert [f.name for f in out.iterdir()] == ["diary.txt"]


def test_an_adapter_of_another_kind_of_model(write: Callable[..., Path], tiny: WanModel, tmp_path: Path) -> None:
    folder = tmp_path / "card"
    folder.mkdir()
    adapter_of(tiny, folder / "pytorch_lora_weights.safetensors", image=False)
    (folder / "README.md").write_text('---\nbase_model: "Wan-AI/Wan2.1-T2V-14B-Diffusers"\n---\n')
    with pytest.raises(WeightsError, match="made for text-to-video"):
        make(write(), tmp_path / "film", tiny, adapters=[str(folder)])
