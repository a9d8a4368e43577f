from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cinetune.generate.contact_sheet import (
    ACCENT,
    FRAME,
    LABEL,
    MARGIN,
    PAPER,
    SheetRow,
    StripRow,
    contact_sheet,
    film_strip,
    strip_positions,
)
from cinetune.generate.ranking import Candidate

LEFT = MARGIN + LABEL


def candidates(count: int) -> list[Candidate]:
    return [
        Candidate("quay", n, 0.3, None if n == 2 else 4.5, 11.0, 10.0, 12.0, float(n), n, "nano_clip 1")
        for n in range(1, count + 1)
    ]


def row(count: int, chosen: int | None, size: tuple[int, int] = (64, 96), prompt: str = "A man.") -> SheetRow:
    frames = [np.full((*size, 3), 40 + 20 * n, np.uint8) for n in range(count)]
    return SheetRow("quay", prompt, frames, candidates(count), chosen)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def boxes(picture: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Left, top, right and bottom of each frame in the accent colour: where whole lines of it run."""
    hit = (picture == ACCENT).all(axis=2)
    rows = np.flatnonzero(hit.sum(axis=1) > 60)
    found = []
    for y in rows:
        xs = np.flatnonzero(hit[y])
        found.append((int(xs.min()), int(y), int(xs.max()), int(y)))
    return found


@pytest.mark.parametrize(
    ("shots", "count", "size"),
    [(1, 1, (64, 96)), (12, 1, (96, 64)), (3, 8, (40, 120)), (2, 2, (720, 1280)), (12, 8, (64, 96))],
)
def test_every_candidate_is_there(tmp_path: Path, shots: int, count: int, size: tuple[int, int]) -> None:
    contact_sheet(tmp_path / "sheet.png", [row(count, None, size)] * shots)
    picture = pixels(tmp_path / "sheet.png")
    for n in range(count):
        flat = (picture == 40 + 20 * n).all(axis=2).sum() / shots
        wanted = min(300 * 300 * size[0] / size[1], 225 * 225 * size[1] / size[0])
        assert flat == pytest.approx(wanted, rel=0.06)  # some pixels of letters have this grey, too
    assert not (picture == ACCENT).all(axis=2).any()


def test_the_chosen_one_is_framed(tmp_path: Path) -> None:
    contact_sheet(tmp_path / "sheet.png", [row(4, 3)])
    picture = pixels(tmp_path / "sheet.png")
    lines = boxes(picture)
    pitch = 300 + 2 * FRAME + MARGIN
    assert {(left, right) for left, _, right, _ in lines} == {
        (LEFT + 2 * pitch, LEFT + 2 * pitch + 300 + 2 * FRAME - 1)
    }
    inside = picture[
        lines[0][1] + FRAME : lines[-1][1] - FRAME, LEFT + 2 * pitch + FRAME : LEFT + 2 * pitch + FRAME + 300
    ]
    assert (inside == 80).all()


def test_the_same_bytes_and_other_bytes_for_another_choice(tmp_path: Path) -> None:
    for name, chosen in (("a", 1), ("b", 1), ("c", 2)):
        contact_sheet(tmp_path / f"{name}.png", [row(2, chosen, prompt="Ein Mann geht über die Brücke, " * 20)])
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_a_long_prompt_makes_neither_a_wide_nor_an_endless_column(tmp_path: Path) -> None:
    for name, prompt in (("short", "A man."), ("long", "word " * 400), ("one", "w" * 400)):
        contact_sheet(tmp_path / f"{name}.png", [row(2, None, prompt=prompt)])
    short, long, one = (pixels(tmp_path / f"{name}.png") for name in ("short", "long", "one"))
    assert short.shape == long.shape == one.shape
    for picture in (long, one):
        assert (picture[:, LEFT - 8 : LEFT] == PAPER).all()
        assert (picture[:, MARGIN : LEFT - 8] != PAPER).any(axis=2).sum() > 2 * (
            short[:, MARGIN : LEFT - 8] != PAPER
        ).any(axis=2).sum()


def test_letters_beyond_english_are_drawn(tmp_path: Path) -> None:
    """A font without a letter draws the same box for all of them."""
    drawn = set()
    for n, prompt in enumerate("äéżπЖ"):
        contact_sheet(tmp_path / f"{n}.png", [row(1, None, prompt=prompt)])
        drawn.add((tmp_path / f"{n}.png").read_bytes())
    assert len(drawn) == 5


def test_a_film_s_strip_marks_its_joins(tmp_path: Path) -> None:
    frames = [np.full((64, 96, 3), 50 + 10 * n, np.uint8) for n in range(6)]
    rows = [StripRow("quay", "2.1 s", frames, ()), StripRow("bridge", "6.1 s, 2 joins", frames[:4], (0.25, 0.5))]
    for name in "ab":
        film_strip(tmp_path / f"{name}.png", rows)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    picture = pixels(tmp_path / "a.png")
    hit = (picture == ACCENT).all(axis=2)
    first, second = np.split(hit, [len(hit) // 2])
    assert not first.any()
    columns = np.flatnonzero(second.any(axis=0))
    middles = [part.mean() for part in np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)]
    pitch = 180 + 2
    assert middles == pytest.approx([LEFT + pitch - 1, LEFT + 2 * pitch - 1], abs=0.5)  # in the gaps between frames
    for n in range(6):
        there = (picture == 50 + 10 * n).all(axis=2).sum()
        assert there >= 180 * 120 * (2 if n < 4 else 1)


def test_strip_positions_are_the_middles_of_equal_parts() -> None:
    assert strip_positions(80, 8) == [5, 15, 25, 35, 45, 55, 65, 75]
    assert strip_positions(3, 8) == [0, 1, 2]
    assert strip_positions(1, 4) == [0]
    assert strip_positions(17, 2) == [4, 12]
