"""How a window with a lever is compared with the same window without, and what windows begin with."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cinetune.bench.plan import Plan, Size
from cinetune.bench.quality import METRICS, Comparer, all_levers, starts
from cinetune.bench.results import _score
from cinetune.errors import RecipeError
from cinetune.ops.video import deepen

SIZE = Size(5, 32, 48)
PLAN = Plan("nano")


@pytest.fixture(scope="module")
def comparer() -> Comparer:
    return Comparer("nano", torch.device("cpu"))


def noise(seed: int) -> np.ndarray:
    return deepen(np.random.default_rng(seed).integers(40, 200, (*SIZE, 3), dtype=np.uint8))


def test_equal_windows_differ_in_nothing(comparer: Comparer) -> None:
    scores = comparer(noise(0), noise(0), "A red car.")
    assert set(scores) == set(METRICS)
    assert scores.pop("psnr") is None
    assert all(value == pytest.approx(0, abs=1e-7) for value in scores.values())


def test_psnr_is_that_of_eight_bits(comparer: Comparer) -> None:
    exact = noise(0)
    scores = comparer(exact + np.uint16(4 * 257), exact, "A red car.")
    assert scores["psnr"] == pytest.approx(10 * np.log10(255**2 / 4**2))
    assert scores["flicker"] == pytest.approx(0)  # all frames are brighter by the same


def test_flicker_is_lever_minus_exact(comparer: Comparer) -> None:
    still = np.repeat(noise(0)[:1], 5, axis=0)
    moving = still.copy()
    moving[1::2] += np.uint16(10 * 257)
    assert comparer(moving, still, "A red car.")["flicker"] == pytest.approx(10)
    assert comparer(still, moving, "A red car.")["flicker"] == pytest.approx(-10)


def test_an_interval_needs_eight_windows() -> None:
    few, enough = _score([0.1] * 6 + [0.2], PLAN), _score([0.1] * 7 + [0.2], PLAN)
    assert few["estimate"] == (pytest.approx(0.8 / 7), None, None)
    assert few["reason"] == "7 windows; an interval needs 8"
    value, low, high = enough["estimate"]
    assert low < value < high
    assert _score([None, None], PLAN)["estimate"] is None
    assert _score([None] + [30.0, 31.0] * 4, PLAN)["n"] == 8


def test_every_lever_of_the_package_is_listed_and_exact_as_control() -> None:
    assert {"merge", ":exact", ":balanced", ":fast"} <= set(all_levers())
    assert not any(name.startswith("_") for name in all_levers())


def test_windows_begin_with_held_out_frames() -> None:
    first, second = starts(2, SIZE, None)
    assert first.still.shape == (32, 48, 3)
    assert first.still.dtype == np.uint16
    assert first.prompt
    assert (first.still != second.still).any()


def test_windows_begin_with_the_pictures_of_a_folder(tmp_path: Path) -> None:
    Image.fromarray(np.full((32, 48, 3), 90, np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text(" A grey wall. \n")
    (start,) = starts(1, SIZE, tmp_path)
    assert (start.still == 90 * 257).all()
    assert start.prompt == "A grey wall."
    with pytest.raises(RecipeError, match=r"1 prompts .* for 2 windows"):
        starts(2, SIZE, tmp_path)
    (tmp_path / "b.txt").write_text("Nothing.")
    with pytest.raises(RecipeError, match=r"b\.txt: no picture"):
        starts(2, SIZE, tmp_path)
