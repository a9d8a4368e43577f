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
    sets = [one.astype(np.float64) for one in (x, y)]
    means = [one.mean(axis=0) for one in sets]
    roots = [(one - mean) / np.sqrt(len(one) - ddof) for one, mean in zip(sets, means, strict=True)]
    turns, cores = zip(*(_core(root) for root in roots), strict=True)
    u, values, vt = np.linalg.svd(cores[0] @ cores[1].T, full_matrices=False)
    found = []
    for i, side in enumerate((u, vt.T)):
        spread = turns[i] @ side if turns[i] is not None else side
        own = (roots[i] ** 2).sum(axis=1) - (spread**2) @ values
        shift = 2 / len(sets[i]) * (sets[i] - means[i]) @ (means[i] - means[1 - i])
        pull = shift + own
        found.append(pull - pull.mean())
    return found[0], found[1]


def _core(root: Vectors) -> tuple[Float[np.ndarray, "n d"] | None, Float[np.ndarray, "k d"]]:
    """Q and R of a tall matrix; None and itself of another."""
    if len(root) <= root.shape[1]:
        return None, root
    turn, core = np.linalg.qr(root)
    return turn, core
