"""What the metrics compute, against closed forms and independent formulas."""

import numpy as np
import pytest

from cinetune import plugins
from cinetune.metrics._contract import Features, Item
from cinetune.metrics.backbones._contract import Identity


def look(name: str, frames: np.ndarray, reference: np.ndarray | None = None) -> Features:
    features: Features = plugins.load("metrics", name).look.features(Item(frames, reference, ""), None)
    return features


def value(name: str, frames: np.ndarray, reference: np.ndarray | None = None) -> float | None:
    number: float | None = plugins.load("metrics", name).score(look(name, frames, reference)).value
    return number


def grey(*levels: int) -> np.ndarray:
    return np.stack([np.full((16, 16, 3), level, np.uint8) for level in levels])


def test_psnr_leaves_out_the_given_frame() -> None:
    assert value("psnr", grey(255, 10, 10), grey(0, 0, 0)) == pytest.approx(20 * np.log10(255 / 10))
    assert value("psnr", grey(255, 7), grey(0, 7)) is None


def test_psnr_averages_the_error_and_not_the_decibels() -> None:
    assert value("psnr", grey(0, 10, 0), grey(0, 0, 0)) == pytest.approx(10 * np.log10(255**2 / 50))


def test_flicker_is_in_grey_levels() -> None:
    assert value("flicker", grey(0, 255, 250)) == pytest.approx((255 + 5) / 2)
    assert value("flicker", grey(9)) is None


def test_motion_ratio() -> None:
    assert value("motion_ratio", grey(0, 2, 4), grey(0, 8, 16)) == pytest.approx(0.25)
    assert value("motion_ratio", grey(0, 0, 0), grey(0, 8, 16)) == 0
    assert value("motion_ratio", grey(0, 2, 4), grey(7, 7, 7)) is None


def test_colour_equals_an_independent_conversion() -> None:
    """CIELAB (D65) of flat colours by the formulas of CIE 15; a flat colour has no deviation."""

    def lab(rgb: tuple[int, int, int]) -> np.ndarray:
        c = np.array(rgb) / 255
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        matrix = [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
        t = np.array(matrix) @ linear / [0.95047, 1.0, 1.08883]
        f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
        return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])

    a, b = (200, 120, 40), (30, 90, 160)
    one, other = (np.broadcast_to(np.array(c, np.uint8), (3, 16, 16, 3)) for c in (a, b))
    assert value("colour", one, other) == pytest.approx(np.linalg.norm(lab(a) - lab(b)), abs=0.05)
    assert value("colour", one, one) == 0


def test_colour_sees_contrast() -> None:
    flat, stripes = grey(119, 119), grey(119, 119).copy()
    stripes[:, ::2], stripes[:, 1::2] = 60, 180
    assert value("colour", stripes, flat) > 15


class FakeEye:
    """Distances and vectors that are known."""

    identity = Identity("fake", "1", "none", "0" * 64)

    def distances(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.abs(a.astype(np.float32) - b).mean((1, 2, 3))

    def images(self, frames: np.ndarray) -> np.ndarray:
        return np.stack([[np.cos(f[0, 0, 0] / 100), np.sin(f[0, 0, 0] / 100)] for f in frames]) * 7

    def text(self, caption: str) -> np.ndarray:
        return np.array([3.0, 0.0])


def seen(name: str, frames: np.ndarray, reference: np.ndarray | None = None, caption: str = "") -> float | None:
    metric = plugins.load("metrics", name)
    number: float | None = metric.score(metric.look.features(Item(frames, reference, caption), FakeEye())).value
    return number


def test_lpips_is_the_mean_over_the_frames_that_were_not_given() -> None:
    assert seen("lpips", grey(100, 2, 4), grey(0, 0, 0)) == pytest.approx(3)


def test_clip_numbers_are_cosines() -> None:
    frames = grey(0, 100, 50)
    assert seen("clip_text", frames, caption="x") == pytest.approx(np.mean(np.cos([0, 1, 0.5])))
    assert seen("clip_frames", frames) == pytest.approx(np.mean(np.cos([1, 0.5])))
    assert seen("clip_text", frames) is None


def test_kid_looks_at_frames_spread_to_the_end() -> None:
    class Recorder(FakeEye):
        def frames(self, frames: np.ndarray) -> np.ndarray:
            self.levels = frames[:, 0, 0, 0].tolist()
            return np.zeros((len(frames), 4), np.float32)

    recorder = Recorder()
    kid = plugins.load("metrics", "kid").look
    kid.features(Item(grey(*range(17)), None, ""), recorder)
    assert recorder.levels == [2, 4, 6, 8, 10, 12, 14, 16]
    kid.features(Item(grey(*range(3)), None, ""), recorder)
    assert recorder.levels[-1] == 2
    kid.features(Item(grey(5), None, ""), recorder)
    assert recorder.levels == [5]
