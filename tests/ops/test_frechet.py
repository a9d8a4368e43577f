"""The Frechet distance against closed forms, other algorithms, exact arithmetic and finite differences."""

from pathlib import Path

import mpmath
import numpy as np
import pytest
from scipy.linalg import sqrtm

from cinetune.ops.frechet import between, fitted, frechet, pulls, pulls_to, stated


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


# ------------------------------------------------------------------------------------ published statistics


def published(shared: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(shared / "reference" / f"i3d_{name}_res128_len16_skip1_seed0.npz") as file:
        return file["mean"], file["cov"]


def by_cholesky(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> float:
    """Another algorithm: with Sa = L L^T, the eigenvalues of Sa Sb are those of the symmetric L^T Sb L."""
    lower = np.linalg.cholesky(a[1])
    shared = np.sqrt(np.linalg.eigvalsh(lower.T @ b[1] @ lower).clip(0)).sum()
    return float(((a[0] - b[0]) ** 2).sum() + np.trace(a[1]) + np.trace(b[1]) - 2 * shared)


@pytest.mark.parametrize(
    ("one", "other"),
    [("ucf101_full", "kinetics_full"), ("ucf101_2048", "ucf101_full"), ("kinetics_full", "ucf101_2048")],
)
def test_two_algorithms_agree_on_the_published_i3d_statistics(shared: Path, one: str, other: str) -> None:
    a, b = published(shared, one), published(shared, other)
    found = between(stated(*a), stated(*b))
    assert found == pytest.approx(by_cholesky(a, b), rel=1e-6)
    assert found > 1
    assert between(stated(*a), stated(*a)) < 1e-6 * np.trace(a[1])


def test_a_draw_from_the_published_statistics_comes_near_them(shared: Path) -> None:
    """From vectors on one side and a mean and covariance over n on the other."""
    mean, covariance = published(shared, "ucf101_full")
    x = exactly(500, mean, covariance * 500 / 499, 7)  # over n - 1, so that over n it is the published one
    assert between(fitted(x, ddof=0), stated(mean, covariance)) < 1e-6 * np.trace(covariance)
    assert between(fitted(x), stated(mean, covariance)) > 1e-7 * np.trace(covariance)


def test_what_is_no_covariance_is_refused() -> None:
    with pytest.raises(ValueError, match="symmetric"):
        stated(np.zeros(2), np.array([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="negative eigenvalue"):
        stated(np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]]))


# --------------------------------------------------------------------------- closed forms, exact arithmetic


def test_closed_forms_in_400_dimensions() -> None:
    """Equal: 0. Moved: |m|^2. S and c S: (1 - sqrt(c))^2 tr S."""
    one = np.eye(400)
    gaussian = stated(np.zeros(400), one)
    assert between(gaussian, gaussian) < 1e-9
    assert between(gaussian, stated(np.full(400, 0.5), one)) == pytest.approx(100, rel=1e-12)
    assert between(gaussian, stated(np.zeros(400), 9 * one)) == pytest.approx(400 * 4, rel=1e-12)


def test_over_n_or_n_minus_one() -> None:
    """In one dimension: (s1 - s2)^2 with standard deviations over either."""
    rng = np.random.default_rng(8)
    x, y = rng.standard_normal((5, 1)), 3 * rng.standard_normal((9, 1))
    for ddof in (0, 1):
        expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=ddof) - y.std(ddof=ddof)) ** 2
        assert frechet(x, y, ddof=ddof) == pytest.approx(expected, rel=1e-12)


def centred(x: np.ndarray) -> mpmath.matrix:
    wide = mpmath.matrix(x.tolist())
    means = [mpmath.fsum(wide[:, j]) / len(x) for j in range(wide.cols)]
    return mpmath.matrix([[wide[i, j] - means[j] for j in range(wide.cols)] for i in range(wide.rows)])


def test_20_against_24_samples_in_400_dimensions_is_exact() -> None:
    """Against the same small matrix in 30 digits."""
    rng = np.random.default_rng(9)
    x, y = rng.standard_normal((20, 400)), rng.standard_normal((24, 400)) * 1.5 + 0.2
    with mpmath.workdps(30):
        one, other = centred(x) / mpmath.sqrt(19), centred(y) / mpmath.sqrt(23)
        cross = one * other.T
        # The smallest is 0, which leaves +-1e-30 here.
        shared = sum(mpmath.sqrt(abs(value)) for value in mpmath.eigsy(cross * cross.T, eigvals_only=True))
        spread = mpmath.fsum(one, squared=True) + mpmath.fsum(other, squared=True)
        expected = float(spread - 2 * shared) + ((x.mean(0) - y.mean(0)) ** 2).sum()
    assert frechet(x, y) == pytest.approx(expected, rel=1e-12)


# ------------------------------------------------------------------------------- weights and first order


@pytest.mark.parametrize(("n", "d"), [(9, 30), (40, 6)])
def test_times_are_copies(n: int, d: int) -> None:
    rng = np.random.default_rng(10)
    x, y = rng.standard_normal((n, d)), rng.standard_normal((12, d)) + 0.3
    times = rng.integers(1, 4, n)
    weighed = between(fitted(x, times=times), fitted(y))
    assert weighed == pytest.approx(frechet(np.repeat(x, times, axis=0), y), rel=1e-10)


@pytest.mark.parametrize(("n", "m", "d"), [(8, 11, 20), (30, 25, 5), (30, 9, 12)])
def test_pulls_are_derivatives(n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(11)
    x, y = rng.standard_normal((n, d)), 1.3 * rng.standard_normal((m, d)) + 0.2
    own, other = pulls(x, y, ddof=0)
    assert own.sum() == pytest.approx(0, abs=1e-12)
    assert pulls_to(x, stated(y.mean(axis=0), np.cov(y.T, ddof=0)), ddof=0) == pytest.approx(own, rel=1e-6, abs=1e-9)
    for i in (0, 3, n - 1):
        step = np.zeros(n)
        step[i] = 1e-5
        ahead, behind = (between(fitted(x, ddof=0, times=1 + s * step), fitted(y, ddof=0)) for s in (1, -1))
        assert own[i] == pytest.approx((ahead - behind) / 2e-5, rel=1e-5, abs=1e-7)
    step = np.zeros(m)
    step[2] = 1e-5
    ahead, behind = (between(fitted(x, ddof=0), fitted(y, ddof=0, times=1 + s * step)) for s in (1, -1))
    assert other[2] == pytest.approx((ahead - behind) / 2e-5, rel=1e-5, abs=1e-7)
