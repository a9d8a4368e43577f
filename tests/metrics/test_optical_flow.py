"""The metrics of optical flow, on motion that is known."""

import cv2
import numpy as np
import pytest

from cinetune import plugins
from cinetune.metrics import _flow
from cinetune.metrics._contract import Features, Item

WALL = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (160, 400, 3)).astype(np.float32), (0, 0), 3)
WALL = ((WALL - WALL.min()) / np.ptp(WALL) * 255).astype(np.uint8)
HEIGHT, WIDTH = 128, 192


def pan(*places: int) -> np.ndarray:
    """The wall seen from each place, pixels."""
    return np.stack([WALL[16 : 16 + HEIGHT, x : x + WIDTH] for x in places])


def look(frames: np.ndarray) -> Features:
    return _flow.LOOK.features(Item(frames, None, ""), None)


def value(name: str, frames: np.ndarray) -> float | None:
    number: float | None = plugins.load("metrics", name).score(look(frames)).value
    return number


def test_a_pan_has_its_speed_and_is_smooth() -> None:
    frames = pan(100, 104, 108, 112, 116)
    assert value("dynamic_degree", frames) == pytest.approx(100 * 4 / HEIGHT, rel=0.1)
    assert np.median(look(frames)["speed"]) == pytest.approx(100 * 4 / HEIGHT, rel=0.1)
    assert value("motion_smoothness", frames) == pytest.approx(1, abs=0.1)
    error = value("warping_error", frames)
    assert error is not None
    assert error < 0.05 * np.square(np.diff(frames / 255, axis=0)).mean()


def test_the_fastest_motion_that_is_followed() -> None:
    """An eighth of the shorter side per frame still is; a quarter is not, as the card says."""
    assert look(pan(100, 116))["speed"] == pytest.approx(100 / 8, rel=0.1)
    assert look(pan(100, 132))["speed"] < 100 / 6


def test_speed_is_relative_to_the_size() -> None:
    frames = pan(100, 104, 108)
    large = frames.repeat(4, axis=1).repeat(4, axis=2)
    assert look(large)["speed"] == pytest.approx(look(frames)["speed"], rel=0.1)
    assert _flow._fit(large[0]).shape == (256, 384, 3)


def test_motion_that_turns_round_is_not_smooth() -> None:
    """There and back: the change is as long as both motions together, and 1 - 1 = 0."""
    assert value("motion_smoothness", pan(100, 104, 100, 104, 100)) == pytest.approx(0, abs=0.1)


def test_motion_that_stops_and_doubles() -> None:
    """From v to 0 and back: 1 - v / v = 0. From v to 2 v: 1 - v / 3 v = 2/3."""
    assert value("motion_smoothness", pan(100, 104, 104, 108, 108)) == pytest.approx(0, abs=0.1)
    assert value("motion_smoothness", pan(100, 104, 112)) == pytest.approx(2 / 3, abs=0.1)


def test_warping_error_of_a_flash_is_its_square() -> None:
    """A still picture that is 20 levels lighter in every second frame: (20 / 255)^2."""
    still = (pan(100, 100, 100, 100) * 0.8).astype(np.uint8)
    still[1::2] += 20
    assert value("warping_error", still) == pytest.approx((20 / 255) ** 2, rel=0.15)


def test_a_still_picture() -> None:
    frames = pan(100, 100, 100)
    assert value("dynamic_degree", frames) == pytest.approx(0, abs=1e-3)
    assert value("warping_error", frames) == pytest.approx(0, abs=1e-9)
    measured = plugins.load("metrics", "motion_smoothness").score(look(frames))
    assert measured.value is None
    assert "nothing moves" in measured.reason


def test_what_comes_into_view_is_not_compared() -> None:
    """Of a pan to the right by 32 pixels, the last 32 columns of a frame are not in the one before it."""
    there = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    there[..., 0] = 32
    seen = _flow.visible(there, -there)
    assert seen[:, : WIDTH - 32].all()
    assert not seen[:, WIDTH - 32 :].any()
    back = -there
    back[:, 64:96] = 0  # something else is there in the other frame
    assert not _flow.visible(there, back)[:, 32:64].any()
    assert _flow.visible(there, back)[:, :32].all()


def test_where_nothing_can_be_followed_there_is_no_number() -> None:
    measured = plugins.load("metrics", "warping_error").score({"error": np.zeros(2), "visible": np.zeros(2)})
    assert measured.value is None
    assert "followed" in measured.reason


def test_one_look_serves_all_three_and_threads_do_not_matter() -> None:
    names = ("warping_error", "motion_smoothness", "dynamic_degree")
    assert {plugins.load("metrics", name).look for name in names} == {_flow.LOOK}
    frames = pan(100, 103, 109, 110)
    threads = cv2.getNumThreads()
    seen = []
    try:
        for count in (1, 3):
            cv2.setNumThreads(count)
            seen.append(look(frames))
    finally:
        cv2.setNumThreads(threads)
    assert all((seen[0][key] == seen[1][key]).all() for key in seen[0])
