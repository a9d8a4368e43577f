"""The Frechet distance of Gaussians, and what each vector contributes to it, in float64.

Nothing here takes the square root of a matrix. With any R that has R^T R = S, the trace of (Sx Sy)^(1/2) is the sum of
the singular values of Rx Ry^T, because the squares of these are the eigenvalues of Sx Sy. That is real and never
negative whatever the rank, and as small as the smaller of the two sets.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer

Vectors = Float[np.ndarray, "n d"]


class Gaussian(NamedTuple):
    """A mean and a covariance, the latter as a factor."""

    mean: Float[np.ndarray, " d"]
    root: Float[np.ndarray, "k d"]
    """root^T root is the covariance; at most d rows."""


def fitted(
    x: Vectors, *, ddof: int = 1, times: Float[np.ndarray, " n"] | Integer[np.ndarray, " n"] | None = None
) -> Gaussian:
    """Return the Gaussian with the mean and covariance of some vectors.

    Args:
        x: rows are vectors.
        ddof: the covariance is over n - ddof. 1 is usual; the statistics of StyleGAN-V and of content-debiased FVD
            divide by n.
        times: how often each row counts, above 0; None counts each once. A vector that a resampled set holds three
            times is one row here, not three.

    Raises:
        ValueError: fewer than two vectors.
    """
    n = len(x) if times is None else times.sum()
    if n < 2:
        raise ValueError(f"a covariance needs two vectors, got {n:g}")
    x = x.astype(np.float64)
    mean = x.mean(axis=0) if times is None else times @ x / n
    root = (x - mean) / np.sqrt(n - ddof)
    if times is not None:
        root *= np.sqrt(times)[:, None]
    if len(root) > x.shape[1]:
        root = np.linalg.qr(root, mode="r")  # the same covariance from d rows instead of n
    return Gaussian(mean, root)


def stated(mean: Float[np.ndarray, " d"], covariance: Float[np.ndarray, "d d"]) -> Gaussian:
    """Return the Gaussian of a published mean and covariance.

    Raises:
        ValueError: the covariance is not symmetric, or has a negative eigenvalue that rounding does not explain.
    """
    covariance = covariance.astype(np.float64)
    if not np.allclose(covariance, covariance.T, rtol=1e-6, atol=1e-9 * np.abs(covariance).max()):
        raise ValueError("a covariance is symmetric, this one is not")
    values, axes = np.linalg.eigh((covariance + covariance.T) / 2)
    if values[0] < -1e-6 * max(values[-1], 0):
        raise ValueError(f"a covariance has no negative eigenvalue, this one has {values[0]:.3g}")
    return Gaussian(mean.astype(np.float64), np.sqrt(values.clip(0))[:, None] * axes.T)


def between(a: Gaussian, b: Gaussian) -> float:
    """Return the squared Frechet distance of two Gaussians, >= 0.

    |mean_a - mean_b|^2 + tr(Sa) + tr(Sb) - 2 tr((Sa Sb)^(1/2)).

    Source: Dowson and Landau 1982, eq. 4; Heusel et al. 2017 (FID); Unterthiner et al. 2018 (FVD).
    """
    shared = np.linalg.svd(a.root @ b.root.T, compute_uv=False).sum()
    apart = ((a.mean - b.mean) ** 2).sum()
    # The exact value is >= 0; for two equal sets rounding alone leaves about -1e-13.
    return max(0.0, float(apart + (a.root**2).sum() + (b.root**2).sum() - 2 * shared))


def frechet(x: Vectors, y: Float[np.ndarray, "m d"], *, ddof: int = 1) -> float:
    """Return the squared Frechet distance of the Gaussians fitted to two sets, >= 0.

    Fewer vectors than dimensions (covariances without full rank) are no special case.

    Raises:
        ValueError: a set has fewer than two vectors.
    """
    return between(fitted(x, ddof=ddof), fitted(y, ddof=ddof))


def pulls(
    x: Vectors, y: Float[np.ndarray, "m d"], *, ddof: int = 1
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " m"]]:
    """Return what each vector of either set adds to the Frechet distance, to first order; each set sums to zero.

    Counting vector i of n vectors 1 + e times changes the distance by e times its pull (exactly so for ddof = 0, as e
    goes to 0). One decomposition gives them all, where leaving out each vector takes one for each. The derivative of
    a sum of singular values of M with respect to the logarithm of the weight of row i is half of entry (i, i) of
    (M M^T)^(1/2).

    Source: Efron 1982 (The Jackknife, the Bootstrap and Other Resampling Plans), ch. 6, for what they are good for.

    Raises:
        ValueError: a set has fewer than two vectors.
    """
    if min(len(x), len(y)) < 2:
        raise ValueError(f"a covariance needs two vectors, got {len(x)} and {len(y)}")
    left, right = _centred(x, ddof), _centred(y, ddof)
    u, values, vt = np.linalg.svd(left.core @ right.core.T, full_matrices=False)
    return left.pulls(u, values, right.mean), right.pulls(vt.T, values, left.mean)


def pulls_to(x: Vectors, to: Gaussian, *, ddof: int = 1) -> Float[np.ndarray, " n"]:
    """Return what each vector of one set adds to its Frechet distance to a Gaussian that is given (see `pulls`).

    Raises:
        ValueError: the set has fewer than two vectors.
    """
    if len(x) < 2:
        raise ValueError(f"a covariance needs two vectors, got {len(x)}")
    own = _centred(x, ddof)
    u, values, _ = np.linalg.svd(own.core @ to.root.T, full_matrices=False)
    return own.pulls(u, values, to.mean)


class _Centred(NamedTuple):
    """A set about its mean, scaled so that root^T root is the covariance; root = turn @ core."""

    mean: Float[np.ndarray, " d"]
    root: Vectors
    turn: Float[np.ndarray, "n d"] | None
    """None stands for the identity."""
    core: Float[np.ndarray, "k d"]
    scale: float

    def pulls(
        self, side: Float[np.ndarray, "k r"], values: Float[np.ndarray, " r"], other: Float[np.ndarray, " d"]
    ) -> Float[np.ndarray, " n"]:
        """Return each vector's pull, from the singular vectors on this side and the mean of the other."""
        spread = side if self.turn is None else self.turn @ side
        own = (self.root**2).sum(axis=1) - (spread**2) @ values
        pull = 2 / len(self.root) * self.scale * self.root @ (self.mean - other) + own
        return np.asarray(pull - pull.mean())


def _centred(x: Vectors, ddof: int) -> _Centred:
    x = x.astype(np.float64)
    mean, scale = x.mean(axis=0), float(np.sqrt(len(x) - ddof))
    root = (x - mean) / scale
    turn, core = np.linalg.qr(root) if len(root) > root.shape[1] else (None, root)
    return _Centred(mean, root, turn, core, scale)
