"""What the metrics compute, against closed forms and independent formulas."""

import numpy as np
import pytest
from scipy import ndimage

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


@pytest.mark.parametrize("name", ["lpips_vgg", "lpips_squeeze", "rlpips", "dists"])
def test_other_networks_are_asked_the_same(name: str) -> None:
    assert seen(name, grey(100, 2, 4), grey(0, 0, 0)) == pytest.approx(3)
    assert plugins.load("metrics", name).backbone == name


def test_first_frame_looks_at_nothing_else() -> None:
    assert seen("first_frame", grey(100, 2, 4), grey(90, 0, 0)) == pytest.approx(10)
    assert seen("first_frame", grey(100, 2), grey(100, 9)) == 0


# ----------------------------------------------------------------------------------------------- SSIM


def ssim_by_hand(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004 with scipy's Gaussian (cut off at 5 pixels), windows inside the frame, mean of R, G and B."""

    def mean(x: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(x, 1.5, truncate=3.5)[5:-5, 5:-5]

    channels = []
    for x, y in zip(np.moveaxis(a / 1.0, -1, 0), np.moveaxis(b / 1.0, -1, 0), strict=True):
        mx, my = mean(x), mean(y)
        luminance = (2 * mx * my + 2.55**2) / (mx**2 + my**2 + 2.55**2)
        vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
        channels.append((luminance * (2 * cov + 7.65**2) / (vx + vy + 7.65**2)).mean())
    return float(np.mean(channels))


def test_ssim_equals_an_independent_implementation(clips: list[np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    noisy = np.clip(clips[0] + rng.normal(0, 20, clips[0].shape), 0, 255).astype(np.uint8)
    for other in (noisy, clips[1]):
        by_hand = [ssim_by_hand(a, b) for a, b in zip(clips[0][1:], other[1:], strict=True)]
        assert value("ssim", other, clips[0]) == pytest.approx(np.mean(by_hand), abs=1e-9)


def test_ssim_of_flat_frames_is_the_luminance_term() -> None:
    expected = (2 * 100 * 50 + 2.55**2) / (100**2 + 50**2 + 2.55**2)
    assert value("ssim", grey(0, 100), grey(0, 50)) == pytest.approx(expected)
    assert value("ssim", grey(9, 7), grey(0, 7)) == 1
    small = np.zeros((3, 10, 40, 3), np.uint8)
    assert value("ssim", small, small) is None


# ------------------------------------------------------------------------------------------- sharpness


def test_sharpness_is_the_deviation_of_the_laplacian() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (2, 20, 30, 1), dtype=np.uint8).repeat(3, axis=3)
    by_hand = [ndimage.laplace(frame[..., 0].astype(float), mode="mirror").std() for frame in frames]
    assert value("sharpness", frames) == pytest.approx(np.mean(by_hand), rel=1e-6)
    assert value("sharpness", grey(7, 90)) == 0


# ------------------------------------------------------------------------------------- corpus and frames


def against(name: str, features: Features, *training: Features) -> float | None:
    number: float | None = plugins.load("metrics", name).score(features, training).value
    return number


def test_grade_is_the_distance_to_the_nearest_clip_of_the_film() -> None:
    """Flat greys of L* 53.585 (128) and 0; frame 0 may have been given and does not count."""
    light, dark = look("grade", grey(0, 128, 128)), look("grade", grey(255, 0))
    assert against("grade", light, light) == pytest.approx(0, abs=1e-6)
    assert against("grade", light, dark) == pytest.approx(53.585, abs=0.01)
    assert against("grade", light, dark, light, dark) == pytest.approx(0, abs=1e-6)
    assert against("grade", light) is None


class Turning(FakeEye):
    """The grey level is an angle, in hundredths."""

    def frames(self, frames: np.ndarray) -> np.ndarray:
        return self.images(frames)


def turned(*levels: int) -> Features:
    features: Features = plugins.load("metrics", "nearest_training").look.features(
        Item(grey(*levels), None, ""), Turning()
    )
    return features


def test_nearest_training_finds_a_copy_at_any_moment_and_speed() -> None:
    own = turned(200, 10, 30, 50)
    far, copied = turned(110, 130, 150), turned(0, 50, 40, 30, 20, 10)
    assert against("nearest_training", own, far, copied) == pytest.approx(1)
    assert against("nearest_training", own, far) == pytest.approx(np.mean(np.cos([1.0, 0.8, 0.6])))
    assert against("nearest_training", own) is None
    nothing: Features = {"frames": np.zeros((2, 2))}
    assert against("nearest_training", own, nothing) is None


def test_subject_consistency_is_half_to_the_last_frame_and_half_to_the_first() -> None:
    score = plugins.load("metrics", "subject_consistency").score
    expected = np.mean([np.cos(0.5), (np.cos(0.3) + np.cos(0.8)) / 2])
    assert score(turned(0, 50, 80)).value == pytest.approx(expected)
    assert score(turned(0, 250)).value == 0, "what points the other way counts as 0, as in VBench"
    assert score(turned(7, 7, 7)).value == pytest.approx(1)
    assert score(turned(7)).value is None
    assert "features" in score({"frames": np.zeros((2, 2))}).reason


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
