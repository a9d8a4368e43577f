"""Kernels and discrepancies against closed forms and naive loops."""

import numpy as np
import pytest

from cinetune.ops.distances import gaussian_kernel, mmd, polynomial_kernel, video_kernel


def test_polynomial_kernel_by_hand() -> None:
    assert polynomial_kernel(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])) == pytest.approx((11 / 2 + 1) ** 3)


def test_gaussian_kernel_and_the_jedi_kernel_by_hand() -> None:
    x, y = np.array([[1.0, 2.0]]), np.array([[3.0, 5.0]])
    assert gaussian_kernel(x, y, sigma=2.0) == pytest.approx(np.exp(-13 / 8))
    assert gaussian_kernel(x, x, sigma=2.0) == 1
    assert polynomial_kernel(x, y, degree=2, offset=0.0) == pytest.approx((13 / 2) ** 2)


def test_video_kernel_is_the_mean_over_pairs_of_frames() -> None:
    rng = np.random.default_rng(7)
    videos = [rng.standard_normal((n, 5)) for n in (3, 1, 4)]
    kernel = video_kernel(videos)
    for i, a in enumerate(videos):
        for j, b in enumerate(videos):
            assert kernel[i, j] == pytest.approx(np.mean([((x @ y) / 5 + 1) ** 3 for x in a for y in b]))


def test_mmd_equals_the_naive_u_statistic() -> None:
    """Gretton et al. 2012, eq. 3, in loops."""
    rng = np.random.default_rng(8)
    x, y = rng.standard_normal((6, 4)), rng.standard_normal((8, 4)) + 0.5

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 4 + 1) ** 3)

    within_x = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    within_y = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    across = np.mean([k(a, b) for a in x for b in y])
    kernel = video_kernel([row[None] for row in np.concatenate([x, y])])
    found = mmd(kernel, np.arange(6), np.arange(6, 14), np.arange(14))
    assert found == pytest.approx(within_x + within_y - 2 * across)


def test_mmd_leaves_out_pairs_of_one_cluster() -> None:
    """A generated video is more like its own continuation than like another: that pair must not count."""
    rng = np.random.default_rng(9)
    kernel = rng.random((8, 8))
    kernel = kernel + kernel.T
    clusters = np.array([0, 1, 2, 3, 0, 1, 2, 3])
    before = mmd(kernel, np.arange(4), np.arange(4, 8), clusters)
    for i in range(4):
        kernel[i, i + 4] = kernel[i + 4, i] = 1e6
    assert mmd(kernel, np.arange(4), np.arange(4, 8), clusters) == before
    with pytest.raises(ValueError, match="two videos of different clusters"):
        mmd(kernel, np.arange(4), np.arange(4, 8), np.zeros(8, int))


def test_mmd_is_unbiased_where_the_plain_mean_is_not() -> None:
    rng = np.random.default_rng(10)
    unbiased, plain = [], []
    for _ in range(300):
        kernel = video_kernel([row[None] for row in rng.standard_normal((20, 8))])
        left, right = np.arange(10), np.arange(10, 20)
        unbiased.append(mmd(kernel, left, right, np.arange(20)))
        plain.append(kernel[:10, :10].mean() + kernel[10:, 10:].mean() - 2 * kernel[:10, 10:].mean())
    error = np.std(unbiased) / np.sqrt(300)
    assert abs(np.mean(unbiased)) < 3 * error
    assert np.mean(plain) > 10 * error
