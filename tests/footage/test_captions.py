"""Captions from files beside the film, and from measurements of pictures whose content is known."""

import json
from pathlib import Path

import numpy as np
import pytest

from cinetune.errors import FootageError
from cinetune.footage.captions import Line, describe, line_for, name_words, read_sidecar


def flat(colour: tuple[int, int, int], spread: int = 30) -> np.ndarray:
    """A still picture of one colour with some texture, 9 frames."""
    noise = np.random.default_rng(0).integers(-spread, spread + 1, (40, 60, 1))
    return np.repeat(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)[None], 9, axis=0)


def moving(dx: int, dy: int) -> np.ndarray:
    """A smooth texture that moves by (dx, dy) pixels a frame, 9 frames of 64x96."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(30, 220, (40, 40)).astype(np.float32)
    fine = np.kron(coarse, np.ones((6, 6), np.float32))
    kernel = np.ones(5) / 5
    for axis in (0, 1):
        fine = np.apply_along_axis(np.convolve, axis, fine, kernel, mode="same")
    x0, y0 = 70, 80
    views = [fine[y0 - n * dy : y0 - n * dy + 64, x0 - n * dx : x0 - n * dx + 96] for n in range(9)]
    return np.repeat(np.stack(views)[..., None], 3, axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("colour", "words"),
    [
        ((200, 30, 30), "red"), ((240, 140, 30), "orange"), ((110, 70, 35), "brown"), ((230, 220, 40), "yellow"),
        ((40, 150, 50), "green"), ((40, 190, 180), "turquoise"), ((40, 70, 200), "blue"), ((140, 50, 190), "purple"),
        ((240, 90, 180), "pink"), ((250, 180, 190), "pink"), ((128, 128, 128), "black and white"),
        ((140, 125, 110), "muted colours"),
    ],
)  # fmt: skip
def test_colours(colour: tuple[int, int, int], words: str) -> None:
    assert f"picture in {words}, still." in describe(flat(colour), 16.0)


def test_two_colours_by_share() -> None:
    frames = flat((200, 30, 30))
    frames[:, :, 40:] = (30, 60, 200)
    assert "in red and blue" in describe(frames, 16.0)


@pytest.mark.parametrize(
    ("level", "spread", "start"),
    [
        (25, 12, "A dark, low-contrast picture"), (70, 60, "A dim picture"), (128, 60, "A picture"),
        (128, 5, "A low-contrast picture"), (200, 50, "A bright picture"), (128, 140, "A high-contrast picture"),
    ],
)  # fmt: skip
def test_light(level: int, spread: int, start: str) -> None:
    assert describe(flat((level, level, level), spread), 16.0).startswith(start)


@pytest.mark.parametrize(
    ("dx", "dy", "words"),
    [
        (3, 0, "movement to the right"), (-3, 0, "movement to the left"), (0, 2, "movement down"),
        (0, -2, "movement up"), (0, 0, "still"),
    ],
)  # fmt: skip
def test_direction(dx: int, dy: int, words: str) -> None:
    assert describe(moving(dx, dy), 16.0).endswith(f"{words}.")


@pytest.mark.parametrize(("fps", "words"), [(4.0, "slow movement"), (16.0, "movement"), (48.0, "fast movement")])
def test_pace_is_in_real_time(fps: float, words: str) -> None:
    """Three pixels of 96 a frame: 0.125, 0.5 and 1.5 widths a second."""
    assert f", {words} to the right." in describe(moving(3, 0), fps)


def test_movement_without_a_common_direction() -> None:
    one, other = moving(3, 0), moving(-3, 0)
    assert describe(np.concatenate([one[:, :32], other[:, 32:]], axis=1), 16.0).endswith(", movement.")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("one-by-one-person-detection.mp4", "one by one person detection"), ("again.mkv", "again"),
        ("big_buck_bunny_0_30.webm", "big buck bunny"), ("RedRoom.mp4", "red room"), ("sample_01.gif", ""),
        ("IMG_2034.MOV", ""), ("clip007.mp4", ""), ("12345.mp4", ""), ("final cut v2.mp4", ""),
        ("straße.mp4", "straße"),
    ],
)  # fmt: skip
def test_words_of_the_file_name(name: str, words: str) -> None:
    assert name_words(name) == words


def test_name_comes_first() -> None:
    sentence = describe(flat((200, 30, 30)), 16.0, "old-barn.mp4")
    assert sentence == "Old barn: a dim, low-contrast picture in red, still."


def test_no_sidecar(tmp_path: Path) -> None:
    assert read_sidecar(tmp_path / "film.mp4") == []


def test_sidecar_of_the_renderer(tmp_path: Path) -> None:
    shots = [
        {"start": 2, "end": 4.5, "caption": "B  b", "scene": "two", "subject": "a car"},
        {"start": 0, "end": 2, "caption": "A", "scene": "one"},
    ]
    (tmp_path / "film.json").write_text(json.dumps({"domain": "day", "shots": shots}), encoding="utf-8")
    (tmp_path / "film.txt").write_text("not looked at", encoding="utf-8")
    assert read_sidecar(tmp_path / "film.mp4") == [Line("A", 0.0, 2.0, "one"), Line("B b", 2.0, 4.5, "two")]


def test_text_is_for_the_whole_film(tmp_path: Path) -> None:
    (tmp_path / "film.txt").write_text("\ufeffA street\n at night.\n", encoding="utf-8")
    assert read_sidecar(tmp_path / "film.mp4") == [Line("A street at night.")]


def test_tables_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text(
        '\ufefffile,caption,start,end\nb.mp4,other,,\na.mp4,"one, two",1.5,3\na.mp4,all,,\n', encoding="utf-8"
    )
    whole, part = Line("all"), Line("one, two", 1.5, 3.0)
    assert read_sidecar(tmp_path / "a.mp4") == [whole, part]
    assert read_sidecar(tmp_path / "c.mp4") == []
    (tmp_path / "captions.jsonl").write_text('{"file": "c.mp4", "caption": "sea"}\n\n', encoding="utf-8")
    assert read_sidecar(tmp_path / "c.mp4") == [Line("sea")]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("film.json", "{", "not JSON"),
        ("film.json", "[]", 'no list "shots"'),
        ("film.json", '{"shots": [{"start": 0, "end": 1}]}', "shot 0: no caption"),
        ("film.json", '{"shots": [{"start": 2, "end": 1, "caption": "a"}]}', "start 2 s is not before end 1 s"),
        ("film.json", '{"shots": [{"start": "x", "end": 1, "caption": "a"}]}', "seconds"),
        ("film.txt", " \n", "empty"),
        ("captions.csv", "name,text\na,b\n", "file and caption"),
        ("captions.csv", "file,caption\nfilm.mp4,\n", "captions.csv:2: no caption"),
        ("captions.jsonl", '{"file": "film.mp4", "caption": "a"}\n{', "captions.jsonl:2: not JSON"),
        ("captions.jsonl", '{"caption": "a"}', 'no key "file"'),
    ],
)
def test_damage_is_one_line_with_its_place(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(FootageError) as error:
        read_sidecar(tmp_path / "film.mp4")
    assert name in str(error.value)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_not_text(tmp_path: Path) -> None:
    (tmp_path / "film.txt").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(FootageError, match="UTF-8"):
        read_sidecar(tmp_path / "film.mp4")


def test_the_line_with_the_most_time_in_common() -> None:
    lines = [Line("a", 0, 2), Line("b", 2, 4), Line("c", 6, 8)]
    assert line_for(lines, 0.5, 2.4) == lines[0]
    assert line_for(lines, 1.7, 3) == lines[1]
    assert line_for(lines, 4, 6) is None
    assert line_for([], 0, 1) is None
    assert line_for([Line("x", 0, 4), Line("y", 0, 4)], 1, 2) == Line("x", 0, 4)  # the first of equals
