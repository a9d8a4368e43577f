"""Distances against closed forms, independent formulas and naive loops."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from cinetune.ops.distances import frechet, mmd, polynomial_kernel, video_kernel


def exactly(n: int, mean: np.ndarray, covariance: np.ndarray, seed: int) -> np.ndarray:
    """n vectors whose sample mean and covariance (over n - 1) are exactly these."""
    raw = np.random.default_rng(seed).standard_normal((n, len(mean)))
    raw -= raw.mean(axis=0)
    white = raw @ np.linalg.inv(np.linalg.cholesky(raw.T @ raw / (n - 1))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def test_frechet_of_gaussians_in_one_dimension() -> None:
    """(m1 - m2)^2 + (s1 - s2)^2."""
    x = exactly(50, np.array([1.0]), np.array([[4.0]]), 0)
    y = exactly(30, np.array([3.0]), np.array([[9.0]]), 1)
    assert frechet(x, y) == pytest.approx(4 + 1, rel=1e-12)


def test_frechet_of_commuting_covariances() -> None:
    """|m1 - m2|^2 + sum (sqrt(v1) - sqrt(v2))^2; with equal ones only the means count."""
    a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 4.0, 1.0])
    x, y = exactly(40, np.zeros(3), np.diag(a), 2), exactly(60, np.ones(3), np.diag(b), 3)
    assert frechet(x, y) == pytest.approx(3 + 1 + 0 + 4, rel=1e-12)
    assert frechet(x, x + 2.0) == pytest.approx(12, rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(200, 300), (20, 300)])
def test_frechet_equals_the_matrix_square_root(n: int, m: int) -> None:
    rng = np.random.default_rng(4)
    mixing = rng.standard_normal((12, 12))
    x, y = rng.standard_normal((n, 12)) @ mixing, rng.standard_normal((m, 12)) + 0.3
    sx, sy = np.cov(x.T), np.cov(y.T)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(sx + sy - 2 * sqrtm(sx @ sy).real)
    assert frechet(x, y) == pytest.approx(expected, rel=1e-9)


def test_frechet_with_fewer_vectors_than_dimensions() -> None:
    """Turning the data into a larger space changes nothing, though the covariances there have no full rank."""
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((30, 6)), 2 * rng.standard_normal((40, 6)) + 1
    turn = np.linalg.qr(rng.standard_normal((100, 100)))[0][:6]
    assert frechet(x @ turn, y @ turn) == pytest.approx(frechet(x, y), rel=1e-10)


def test_frechet_of_a_set_with_itself_is_zero_and_never_below() -> None:
    for n in (2, 5, 24, 100):
        x = np.random.default_rng(n).standard_normal((n, 64)) * 100
        assert 0 <= frechet(x, x) < 1e-7
        assert frechet(x, x[::-1]) < 1e-7


def test_frechet_is_symmetric_and_refuses_what_has_no_covariance() -> None:
    rng = np.random.default_rng(6)
    x, y = rng.standard_normal((7, 3)), rng.standard_normal((9, 3))
    assert frechet(x, y) == pytest.approx(frechet(y, x), rel=1e-12)
    with pytest.raises(ValueError, match="needs two vectors"):
        frechet(x[:1], y)


def test_polynomial_kernel_by_hand() -> None:
    assert polynomial_kernel(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])) == pytest.approx((11 / 2 + 1) ** 3)


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
