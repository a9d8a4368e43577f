"""Which size a shot, or a picture, goes to; what trains and what may not."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from cinetune.footage.captions import Line
from cinetune.footage.films import Film
from cinetune.footage.plan import Source, name_shots, plan, plan_buckets, ranked
from cinetune.footage.shots import Scan
from cinetune.footage.video_io import VideoInfo
from cinetune.recipe import Footage, Size

LAND, TALL, LONG = Size(33, 480, 832), Size(33, 832, 480), Size(81, 480, 832)
HD, SQUARE = Size(33, 720, 1280), Size(33, 640, 640)


def film(height: int, width: int, name: str = "a.mp4", scenes: int = 0) -> Film:
    lines = [Line("x", 10.0 * n, 10.0 * n + 10, f"scene {n}") for n in range(scenes)]
    return Film(Path(name), f"{name:0<8}", VideoInfo(25.0, None, 10.0, height, width, "h264", "mp4"), lines)


@pytest.mark.parametrize(
    ("height", "width", "wanted"),
    [
        (1080, 1920, [LONG, HD, LAND]),  # longest first; HD loses nothing, 832x480 2.5 %: as good
        (1920, 1080, [TALL]),
        (600, 600, [SQUARE]),
        (480, 832, [LONG, LAND, HD]),  # HD would enlarge it
        (240, 416, [LONG, LAND, HD]),  # all would: the smallest
    ],
)
def test_the_order_of_sizes(height: int, width: int, wanted: list[Size]) -> None:
    for sizes in permutations((LAND, TALL, LONG, HD, SQUARE)):
        assert ranked(film(height, width), sizes)[: len(wanted)] == wanted


def test_what_fits_worse_comes_in_order_of_what_is_cut_off() -> None:
    assert ranked(film(1000, 1000), (TALL, SQUARE, Size(81, 480, 1280))) == [SQUARE, TALL, Size(81, 480, 1280)]


def sources(*lengths: float, height: int = 480, width: int = 832) -> list[Source]:
    """A film of shots of so many seconds, each a scene of its own."""
    edges = np.cumsum([0.0, *lengths])
    spans = np.stack([edges[:-1], edges[1:]], axis=1)
    lines = [Line("x", start, end, f"scene {n}") for n, (start, end) in enumerate(spans.tolist())]
    one = Film(Path("a.mp4"), "0" * 8, film(height, width).info, lines)
    return [name_shots(one, Scan(spans, np.zeros((len(lengths), 1), np.float32), 0.04))]


SETTINGS = Footage(buckets=("81x480x832", "1x480x832", "33x832x480"))


def planned(given: list[Source], parts: dict[int, str], settings: Footage = SETTINGS) -> list[tuple[str, str]]:
    """Plan with each shot's clips of the own size in a part; (shot, size) of all that trains."""
    pieces = [one.piece for one in plan(given, settings)]
    told = {piece.id: parts[int(piece.shot[-4:])] for piece in pieces if int(piece.shot[-4:]) in parts}
    return [(one.shot[-4:], str(one.settings.sizes[0])) for one in plan_buckets(given, [], pieces, told, settings)]


def test_a_shot_goes_to_the_longest_size_that_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    """Windows of 33 frames at 16 fps take 2.0 s and those of 81 take 5.0 s, beside the frames next to cuts."""
    chosen = planned(sources(6, 3, 4.5, 1, 0.1, 11), dict.fromkeys(range(6), "train"))
    assert chosen == [
        ("0000", "81x480x832"), ("0001", "33x480x832"), ("0002", "33x480x832"), ("0002", "33x480x832"),
        ("0003", "1x480x832"), ("0005", "81x480x832"), ("0005", "81x480x832"),
    ]  # fmt: skip
    assert "1 shots are too short for every size" in capsys.readouterr().err


def test_an_upright_film_trains_upright(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = planned(sources(3, 3, 3, height=1280, width=720), {0: "train", 1: "test", 2: "validation"})
    assert chosen == [("0000", "33x832x480")]
    err = capsys.readouterr().err
    assert "720x1280 loses 68 % of the height to 832x480" in err  # held-out clips
    assert "720x1280 loses 3 % of the height to 480x832" in err


def test_what_is_held_out_never_trains(capsys: pytest.CaptureFixture[str]) -> None:
    """Held-out and left-out shots do not, nor does a short shot of a held-out scene; one of another scene does."""
    given = sources(3, 3, 3, 1, 1)
    lines = given[0].film.lines
    same = [*lines[:3], Line("x", lines[3].start, lines[3].end, "scene 1"), lines[4]]
    scan = given[0].scan
    given = [name_shots(Film(Path("a.mp4"), "0" * 8, given[0].film.info, same), scan)]
    assert planned(given, {0: "train", 1: "test"}) == [("0000", "33x480x832"), ("0004", "1x480x832")]
    assert "1 shots of held-out scenes left out, without a clip of 33x480x832" in capsys.readouterr().err


def test_max_clips_bounds_what_trains() -> None:
    chosen = planned(sources(60, 3, 3), dict.fromkeys(range(3), "train"), SETTINGS.model_copy(update={"max_clips": 5}))
    assert len(chosen) == 5
