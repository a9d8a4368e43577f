"""Metrics of sets, on made-up features: against loops, copies, other orders, and sets that are too small."""

from collections.abc import Callable

import numpy as np
import pytest

from cinetune import plugins
from cinetune.metrics import _frechet
from cinetune.metrics._contract import Comparison, Features, SetMetric
from cinetune.ops import frechet

NAMES = [name for name in plugins.names("metrics") if isinstance(plugins.load("metrics", name), SetMetric)]
ON_FRAMES = ("kid", "clip_kid", "fid", "clip_fid", "cmmd")
FRAMES, WIDTH = 4, 6


def made_up(n: int, seed: int, shift: float = 0.0) -> list[Features]:
    """Features of n videos, both as one vector and as a few frames that hang together."""
    rng = np.random.default_rng(seed)
    videos = 1 + shift + rng.standard_normal((n, WIDTH))
    frames = videos[:, None] + 0.3 * rng.standard_normal((n, FRAMES, WIDTH))
    return [
        {"video": video.astype(np.float32), "frames": frame.astype(np.float32)}
        for video, frame in zip(videos, frames, strict=True)
    ]


def load(name: str) -> SetMetric:
    metric: SetMetric = plugins.load("metrics", name)
    return metric


def test_every_set_metric_is_here() -> None:
    assert set(NAMES) >= {
        *ON_FRAMES,
        *("fvd", "fvd_stylegan_v", "fvd_videogpt", "fvd_debiased", "fvd_infinite", "kvd", "jedi"),
        *("precision", "recall", "density", "coverage"),
    }
    for name in ON_FRAMES:
        assert {"shuffle", "freeze", "drop"} <= set(load(name).card.blind), "single frames know no order"


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_videos_changes_nothing(name: str) -> None:
    videos = [*made_up(40, 0), *made_up(36, 1, 0.4)]
    clusters = np.arange(76) // 2
    left, right = np.arange(40), np.arange(40, 76)
    expected = load(name).score(videos, clusters).distance(left, right)
    rng = np.random.default_rng(2)
    order = rng.permutation(76)
    place = np.argsort(order)
    moved = load(name).score([videos[i] for i in order], clusters[order])
    assert moved.distance(rng.permutation(place[left]), rng.permutation(place[right])) == pytest.approx(
        expected, rel=1e-6
    )


@pytest.mark.parametrize("name", NAMES)
def test_sets_that_differ_score_worse_than_sets_that_do_not(name: str) -> None:
    metric = load(name)
    videos = [*made_up(60, 3), *made_up(60, 4), *made_up(60, 5, 1.5)]
    made = metric.score(videos, np.arange(180))
    same, other = (made.distance(np.arange(60) + start, np.arange(60)) for start in (60, 120))
    assert (other < 0.8 * same) if metric.better == "higher" else (other > abs(same) * 1.2 + 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_single_video_is_too_few(name: str) -> None:
    made = load(name).score(made_up(4, 6), np.arange(4))
    for left, right in ((1, 3), (3, 1), (0, 2)):
        with pytest.raises(ValueError, match="need"):
            made.distance(np.arange(left), np.arange(left, left + right))


# ---------------------------------------------------------------------------------- discrepancies, in loops


def cubic(a: np.ndarray, b: np.ndarray) -> float:
    return float((a @ b / len(a) + 1) ** 3)


def square(a: np.ndarray, b: np.ndarray) -> float:
    return 100 * float((a @ b / len(a)) ** 2)


def bell(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    return 1000 * float(np.exp(-((a - b) ** 2).sum() / (2 * 10**2)))


def in_loops(
    left: list[np.ndarray], right: list[np.ndarray], kernel: Callable[[np.ndarray, np.ndarray], float]
) -> float:
    """Gretton et al. 2012, eq. 3, over frames; pairs of frames of one video are left out."""

    def mean(one: list[np.ndarray], other: list[np.ndarray], same: bool) -> float:
        return float(
            np.mean(
                [
                    kernel(a.astype(np.float64), b.astype(np.float64))
                    for i, x in enumerate(one)
                    for j, y in enumerate(other)
                    if not (same and i == j)
                    for a in x
                    for b in y
                ]
            )
        )

    return mean(left, left, True) + mean(right, right, True) - 2 * mean(left, right, False)


@pytest.mark.parametrize(
    ("name", "kernel"), [("kid", cubic), ("clip_kid", cubic), ("cmmd", bell), ("kvd", cubic), ("jedi", square)]
)
def test_discrepancies_equal_the_double_loop(name: str, kernel: Callable[[np.ndarray, np.ndarray], float]) -> None:
    videos = [*made_up(7, 7), *made_up(9, 8, 0.5)]
    found = load(name).score(videos, np.arange(16)).distance(np.arange(7), np.arange(7, 16))
    vectors = [video["frames"] if name in ON_FRAMES else video["video"][None] for video in videos]
    assert found == pytest.approx(in_loops(vectors[:7], vectors[7:], kernel), rel=1e-9)


# ------------------------------------------------------------------------------------- Frechet distances


def compared(name: str, left: list[Features], right: list[Features]) -> float:
    both = [*left, *right]
    made = load(name).score(both, np.arange(len(both)))
    return made.distance(np.arange(len(left)), np.arange(len(left), len(both)))


def test_protocols_differ_by_n() -> None:
    """The spread over n is (n - 1) / n of that over n - 1; for equal n that is a factor on all but the means."""
    left, right = made_up(10, 9), made_up(10, 10, 0.7)
    means = [np.mean([video["video"] for video in some], axis=0, dtype=np.float64) for some in (left, right)]
    moved = float(((means[0] - means[1]) ** 2).sum())
    over_less = compared("fvd", left, right)
    assert compared("fvd_videogpt", left, right) == over_less
    for name in ("fvd_stylegan_v", "fvd_debiased"):
        assert compared(name, left, right) == pytest.approx(moved + 0.9 * (over_less - moved), rel=1e-9)


def test_fid_pools_all_frames() -> None:
    left, right = made_up(10, 11), made_up(12, 12, 0.7)
    pooled = [np.concatenate([video["frames"] for video in some]) for some in (left, right)]
    for name in ("fid", "clip_fid"):
        assert compared(name, left, right) == pytest.approx(frechet.frechet(*pooled), rel=1e-9)


def test_a_video_that_counts_twice_is_two_videos() -> None:
    videos = made_up(20, 13)
    twice = np.array([0, 0, 1, 2, 2, 2, 5])
    for name in ("fvd", "fid"):
        made = load(name).score(videos, np.arange(20))
        copied = load(name).score([*[videos[i] for i in twice], *videos[10:]], np.arange(17))
        expected = copied.distance(np.arange(7), np.arange(7, 17))
        assert made.distance(twice, np.arange(10, 20)) == pytest.approx(expected, rel=1e-9)


def test_cautions_say_how_many_videos_would_do() -> None:
    made: dict[str, Comparison] = {name: load(name).score(made_up(12, 14), np.arange(12)) for name in NAMES}
    assert "6 videos cannot fill" in made["fvd"].caution(6)
    assert "(7 would)" in made["fvd"].caution(6)
    assert made["fvd"].caution(7) == ""
    assert "1 videos of 4 frames" in made["fid"].caution(1)
    assert "(2 would at the least)" in made["fid"].caution(1)
    assert made["kid"].caution(2) == ""
    assert "99 videos" in made["coverage"].caution(99)
    assert made["coverage"].caution(100) == ""


def test_large_sets_have_pulls_and_small_ones_none() -> None:
    """Those of a video are the sum of those of its frames."""
    videos = [*made_up(70, 15), *made_up(30, 16, 0.5)]
    made = load("fid").score(videos, np.arange(100))
    assert made.pulls(np.arange(60), np.arange(70, 100)) is None
    found = made.pulls(np.arange(70), np.arange(70, 100))
    assert found is not None
    assert 70 * FRAMES > _frechet.HEAVY >= 60 * FRAMES
    rows = [np.concatenate([video["frames"] for video in some]) for some in (videos[:70], videos[70:])]
    expected = frechet.pulls(*rows)
    assert found[0] == pytest.approx(expected[0].reshape(70, FRAMES).sum(axis=1))
    assert found[1] == pytest.approx(expected[1].reshape(30, FRAMES).sum(axis=1))
    assert load("kid").score(videos, np.arange(100)).pulls(np.arange(70), np.arange(70, 100)) is None


def test_fvd_at_infinite_n_is_near_the_truth() -> None:
    """Sets whose means differ by 0.5 in each of 6 dimensions: 1.5."""
    sets = [(made_up(100, 2 * i), made_up(100, 2 * i + 1, 0.5)) for i in range(20, 32)]
    limits, plain = ([compared(name, *some) for some in sets] for name in ("fvd_infinite", "fvd"))
    assert np.mean(limits) == pytest.approx(1.5, abs=3 * np.std(limits) / np.sqrt(12))
    assert np.mean(limits) < np.mean(plain)
