"""Films in, footage/ out: what is made, every bad input, kill and resume."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cinetune import plugins
from cinetune.errors import FootageError, RecipeError
from cinetune.footage.cache import read_cache
from cinetune.footage.prepare import find_films, prepare
from cinetune.footage.video_io import read_video, write_video
from cinetune.models._contract import Usual
from cinetune.models._wan import PUBLISHED
from cinetune.recipe import Recipe, load_recipe
from cinetune.records import Clip, Shot, read_records

CPU = torch.device("cpu")
SMALL = {
    "footage.frames": "5",
    "footage.height": "32",
    "footage.width": "48",
    "footage.fps": "8",
    "footage.stride": "1",
}


@dataclass
class FakeEncoders:
    """Encoders without weights: a few sums of the pixels, so that a wrong clip gives a wrong latent."""

    pause_s: float = 0.0
    texts: int = 0
    images: int = 0

    def encode_text(self, captions: list[str]) -> list[torch.Tensor]:
        self.texts += len(captions)
        return [torch.tensor([[float(b), 1.0] for b in text.encode()] + [[0.0, 0.0]]) for text in captions]

    def encode_image(self, frame: np.ndarray) -> torch.Tensor:
        self.images += 1
        return torch.from_numpy(frame.reshape(-1, 3)[:4].astype(np.float32))

    def encode_video(self, pixels: torch.Tensor) -> torch.Tensor:
        time.sleep(self.pause_s)
        return torch.nn.functional.avg_pool3d(pixels[:, :, ::4], (1, 8, 8))

    def condition(self, first: torch.Tensor, frames: int) -> torch.Tensor:
        video = torch.zeros(*first.shape[:2], frames, *first.shape[2:])
        video[:, :, 0] = first
        latents = self.encode_video(video)
        mask = torch.zeros(len(first), 4, *latents.shape[2:])
        mask[:, :, 0] = 1
        return torch.cat([mask, latents], dim=1)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        raise AssertionError("prepare decodes no latents")

    def decoder(self) -> Any:
        raise AssertionError("prepare decodes no latents")

    def without_text(self, device: torch.device) -> "FakeEncoders":
        return self


@dataclass
class FakeModel:
    """A model that needs no weights (cinetune.models._contract.VideoModel)."""

    encoders: FakeEncoders
    weights: str = "1234"
    name: str = "fake"
    source: str = "here"
    licence: str = "none"
    usual: Usual = PUBLISHED
    loaded: int = 0

    def check_size(self, frames: int, height: int, width: int) -> None:
        if frames > 100:
            raise RecipeError("fake: too many frames")

    def fingerprint(self) -> str:
        return self.weights

    def load_encoders(self, device: torch.device) -> FakeEncoders:
        self.loaded += 1
        return self.encoders

    def load_tokenizer(self) -> Any:
        raise AssertionError("prepare cuts no captions")

    def load_decoder(self, device: torch.device) -> FakeEncoders:
        raise AssertionError("prepare decodes no latents")

    def load_transformer(self, device: torch.device, dtype: torch.dtype) -> nn.Module:
        raise AssertionError("prepare needs no denoiser")

    def velocity(self, network: Any, latents: Any, sigma: Any, condition: Any) -> Any:
        raise AssertionError("prepare needs no denoiser")

    def adapter_targets(self, *, image_projections: bool) -> list[str]:
        return []


def fake(pause_s: float = 0.0, weights: str = "1234") -> FakeModel:
    return FakeModel(FakeEncoders(pause_s), weights)


def recipe(**changes: str) -> Recipe:
    return load_recipe("nano", SMALL | {f"footage.{key}": value for key, value in changes.items()})


def shot(colour: tuple[int, int, int], frames: int, seed: int = 0, height: int = 48, width: int = 64) -> np.ndarray:
    """A textured wall of one colour past which a bright square moves."""
    noise = np.random.default_rng(seed).integers(-20, 21, (height, width, 1))
    wall = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    film = np.repeat(wall[None], frames, axis=0)
    for n in range(frames):
        x = 2 + n * 2 % (width - 12)
        film[n, 12:20, x : x + 8] = 235
    return film


RED, GREEN, BLUE, GREY = (170, 40, 40), (40, 130, 50), (40, 60, 170), (110, 110, 110)


def film(path: Path, *shots: np.ndarray, fps: float = 16.0) -> Path:
    write_video(path, np.concatenate(shots), fps, crf=12)
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two films of 3 + 2 shots of two seconds, the first two sides of a place twice."""
    folder = tmp_path_factory.mktemp("films")
    return [
        film(folder / "red room.mp4", shot(RED, 32, 1), shot(GREEN, 32, 2), shot(RED, 32, 1)),
        film(folder / "night.mp4", shot(BLUE, 32, 3), shot(GREY, 32, 4)),
    ]


def bytes_of(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def differing(a: Path, b: Path) -> list[str]:
    """The names of files that are not the same bytes in both folders."""
    one, other = bytes_of(a), bytes_of(b)
    return [name for name in sorted(one | other) if one.get(name) != other.get(name)]


def clips_of(run: Path) -> list[Clip]:
    return read_records(run / "footage" / "clips.jsonl", Clip)


def test_makes_records_clips_and_caches(films: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = fake()
    made = prepare(films, tmp_path / "run", recipe(), model, device=CPU)
    footage = tmp_path / "run" / "footage"
    shots, clips = read_records(footage / "shots.jsonl", Shot), clips_of(tmp_path / "run")
    assert (made.films, made.shots, made.scenes) == (2, 5, 4)  # the red room twice is one scene
    assert [round(s.start * 16) for s in shots] == [0, 32, 64, 0, 32]
    assert shots[0].scene == shots[2].scene != shots[1].scene
    assert made.train + made.validation + made.test == len(clips) == 15  # three to a shot
    assert min(made.train, made.validation, made.test) >= 1
    for clip in clips:
        frames, fps = read_video(footage / clip.video)
        assert frames.shape == (5, 32, 48, 3)
        assert fps == 8
        tensors = read_cache(footage / clip.cache, {"clip": clip.id, "fingerprint": "1234", "caption": clip.caption})
        assert {name: tuple(t.shape) for name, t in tensors.items()} == {
            "latents": (3, 2, 4, 6),
            "first": (7, 2, 4, 6),
            "image": (4, 3),
            "text": (len(clip.caption.encode()) + 1, 2),
        }
        assert all(t.dtype == torch.float32 for t in tensors.values())
        assert clip.caption_source == "measured"
        assert 0 < clip.motion < 255
    assert set(read_cache(footage / "cache" / "empty.safetensors")) == {"text"}
    assert model.encoders.texts == len(clips) + 1  # each caption once, and the empty one
    assert model.encoders.images == len(clips)
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert "training" in out
    assert "footage" in out
    assert "red room.mp4 and 1 more: 64x48 loses 10 % of the height to 48x32" in err


def test_again_does_nothing_and_a_changed_file_is_mended(films: list[Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = prepare(films, run, recipe(), fake(), device=CPU)
    whole = Path(shutil.copytree(run, tmp_path / "whole"))
    again = fake()
    assert prepare(films, run, recipe(), again, device=CPU) == first
    assert again.loaded == 0
    clip = clips_of(run)[0]
    for name in (clip.cache, clip.video):
        path = run / "footage" / name
        content = bytearray(path.read_bytes())
        content[-200] ^= 1
        path.write_bytes(content)
        assert prepare(films, run, recipe(), fake(), device=CPU) == first
        assert differing(run, whole) == [], name
        path.unlink()
        prepare(films, run, recipe(), fake(), device=CPU)
        assert differing(run, whole) == [], name


def test_damage_is_said(films: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    prepare(films, run, recipe(), fake(), device=CPU)
    clip = clips_of(run)[0]
    for name in (clip.cache, clip.video):
        path = run / "footage" / name
        path.write_bytes(path.read_bytes()[:-300])
    capsys.readouterr()
    prepare(films, run, recipe(), fake(), device=CPU)
    err = capsys.readouterr().err
    assert "1 cached clips do not fit and are encoded again" in err
    assert "damaged" in err
    assert "1 clip files were damaged and have been cut again" in err


def test_other_weights_encode_again(films: list[Path], tmp_path: Path) -> None:
    prepare(films, tmp_path, recipe(), fake(), device=CPU)
    other = fake(weights="abcd")
    prepare(films, tmp_path, recipe(), other, device=CPU)
    assert other.encoders.images == len(clips_of(tmp_path))
    read_cache(tmp_path / "footage" / clips_of(tmp_path)[0].cache, {"fingerprint": "abcd"})


def test_other_recipe_or_captions_leave_nothing_stale(films: list[Path], tmp_path: Path) -> None:
    near = tmp_path / "films"
    near.mkdir()
    mine = [Path(shutil.copy(path, near)) for path in films]
    run = tmp_path / "run"
    prepare(mine, run, recipe(), fake(), device=CPU)
    (near / "night.txt").write_text("a night sky\n", encoding="utf-8")
    prepare(mine, run, recipe(height="48"), fake(), device=CPU)
    prepare(mine, tmp_path / "fresh", recipe(height="48"), fake(), device=CPU)
    assert differing(run, tmp_path / "fresh") == []
    told = {clip.caption for clip in clips_of(run) if clip.film == "night.mp4"}
    assert told == {"a night sky"}


def test_sidecar_names_scenes_captions_and_cuts(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", shot(RED, 32, 1), shot(RED, 32, 1), shot(RED, 32, 1), shot(RED, 32, 1))
    shots = [{"start": n * 2.0, "end": n * 2.0 + 2, "caption": f"shot {n}", "scene": f"s{n}"} for n in range(4)]
    path.with_suffix(".json").write_text(json.dumps({"shots": shots}), encoding="utf-8")
    made = prepare([path], tmp_path / "run", recipe(), fake(), device=CPU)
    assert (made.shots, made.scenes) == (4, 4)  # without the sidecar nothing tells them apart
    for clip in clips_of(tmp_path / "run"):
        assert clip.caption == f"shot {int(clip.start // 2)}"
        assert clip.caption_source == "sidecar"


def test_blank_windows_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    black = np.zeros((32, 48, 64, 3), np.uint8)
    path = film(tmp_path / "a.mp4", black, shot(RED, 32, 1), shot(GREEN, 32, 2), shot(BLUE, 32, 3))
    made = prepare([path], tmp_path / "run", recipe(), fake(), device=CPU)
    assert made.blank == 3
    assert f"left out: {made.blank} blank" in capsys.readouterr().out
    assert all(clip.start >= 2 for clip in clips_of(tmp_path / "run"))


def test_max_clips_spares_every_film(films: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = prepare(films, tmp_path, recipe(max_clips="6"), fake(), device=CPU)
    assert made.train + made.validation + made.test <= 6
    assert {clip.film for clip in clips_of(tmp_path)} == {"red room.mp4", "night.mp4"}
    assert "6 of 15 windows taken" in capsys.readouterr().err


def test_films_by_folder_pattern_and_twice(films: list[Path], tmp_path: Path) -> None:
    copy = Path(shutil.copy(films[0], tmp_path / "same.mp4"))
    (tmp_path / "notes.txt").write_text("not a film", encoding="utf-8")
    folder = films[0].parent
    assert find_films([folder]) == sorted(films)
    assert find_films([folder / "*.mp4"]) == sorted(films)
    assert find_films([*films, copy, films[0]]) == films
    assert find_films([tmp_path]) == [copy]


def one_line(error: pytest.ExceptionInfo[Exception], *words: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


def test_bad_films_are_named_and_nothing_is_left(films: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a film", encoding="utf-8")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "nothing").mkdir()
    run = tmp_path / "run"
    for bad in ("text.mp4", "empty.mp4", "absent.mp4", "nothing", "*.avi"):
        with pytest.raises(FootageError) as error:
            prepare([*films, tmp_path / bad], run, recipe(), fake(), device=CPU)
        one_line(error, bad)
        assert not run.exists()
    with pytest.raises(FootageError) as error:
        prepare([], run, recipe(), fake(), device=CPU)
    one_line(error, "no films given")


def test_truncated_film_is_named(films: list[Path], tmp_path: Path) -> None:
    whole = tmp_path / "whole.mkv"
    write_video(whole, np.concatenate([shot(RED, 32, 1), shot(BLUE, 32, 2)]), 16.0, lossless=True)
    short = tmp_path / "short.mkv"
    short.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(FootageError) as error:
        prepare([*films, short], tmp_path / "run", recipe(), fake(), device=CPU)
    one_line(error, "short.mkv")
    assert not (tmp_path / "run" / "footage" / "clips.jsonl").exists()


def test_damaged_captions_are_named(films: list[Path], tmp_path: Path) -> None:
    path = Path(shutil.copy(films[0], tmp_path / "a.mp4"))
    path.with_suffix(".json").write_text("{", encoding="utf-8")
    with pytest.raises(FootageError) as error:
        prepare([path], tmp_path / "run", recipe(), fake(), device=CPU)
    one_line(error, "a.json", "not JSON")


def test_too_little_material(tmp_path: Path) -> None:
    one = film(tmp_path / "one.mp4", shot(RED, 40, 1))
    with pytest.raises(FootageError) as error:
        prepare([one], tmp_path / "run", recipe(), fake(), device=CPU)
    one_line(error, "one.mp4", "only one shot", "add a second film")

    short = film(tmp_path / "short.mp4", *(shot(colour, 8, 1) for colour in (RED, GREEN, BLUE)))
    with pytest.raises(FootageError) as error:
        prepare([short], tmp_path / "run", recipe(), fake(), device=CPU)
    one_line(error, "short.mp4", "0.50 s", "needs 0.69 s", "footage.frames", "footage.fps")

    blank = film(tmp_path / "blank.mp4", np.zeros((32, 48, 64, 3), np.uint8), np.full((32, 48, 64, 3), 255, np.uint8))
    with pytest.raises(FootageError) as error:
        prepare([blank], tmp_path / "run2", recipe(), fake(), device=CPU)
    one_line(error, "blank")


def test_size_is_refused_first(films: list[Path], tmp_path: Path) -> None:
    with pytest.raises(RecipeError):
        prepare(films, tmp_path / "run", recipe(frames="121"), fake(), device=CPU)
    assert not (tmp_path / "run").exists()


def test_with_the_miniature(films: list[Path], tmp_path: Path) -> None:
    model = plugins.load("models", "nano")
    if not (Path(model.source) / "vae").is_dir():
        pytest.skip(f"the miniature's weights are not in {model.source} yet")
    prepare(films, tmp_path, recipe(frames="9", max_clips="4"), model, device=CPU)
    for clip in clips_of(tmp_path):
        told = read_cache(tmp_path / "footage" / clip.cache)
        assert told["latents"].shape == (16, 3, 4, 6)
        assert told["first"].shape == (20, 3, 4, 6)
        assert 1 < told["text"].shape[0] <= 512
        assert torch.isfinite(told["latents"]).all()
        frames, _ = read_video(tmp_path / "footage" / clip.video)
        back = model.load_encoders(CPU).decode(told["latents"][None])[0].permute(1, 2, 3, 0)
        error = (back * 127.5 + 127.5 - torch.from_numpy(frames)).abs().mean()
        assert error < 40  # grey levels; a clip of the wrong range or layout is far off


def test_disturbing_global_randomness_changes_nothing(films: list[Path], tmp_path: Path) -> None:
    prepare(films, tmp_path / "a", recipe(), fake(), device=CPU)
    np.random.seed(7)
    torch.manual_seed(7)
    prepare(films, tmp_path / "b", recipe(), fake(), device=CPU)
    assert differing(tmp_path / "a", tmp_path / "b") == []


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_prepare import CPU, fake, prepare, recipe
prepare([Path(name) for name in sys.argv[3:]], Path(sys.argv[2]), recipe(), fake(pause_s=0.05), device=CPU)
"""


def test_killed_and_resumed_is_the_same(films: list[Path], tmp_path: Path) -> None:
    """Kill the process once while it cuts clips and once while it encodes; the end equals an undisturbed run."""
    prepare(films, tmp_path / "whole", recipe(), fake(), device=CPU)
    run = tmp_path / "run"
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(run), *map(str, films)]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    for pattern, count in (("clips/*.mkv", 3), ("cache/*.safetensors", 4)):
        child = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while sum(not p.name.startswith(".") for p in (run / "footage").glob(pattern)) < count:
            assert child.poll() is None, child.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        child.kill()
        child.communicate()
        assert not (run / "footage" / "clips.jsonl").exists()
    resumed = fake()
    prepare(films, run, recipe(), resumed, device=CPU)
    assert resumed.encoders.images < len(clips_of(run))  # what was encoded before the kill was kept
    assert differing(run, tmp_path / "whole") == []
