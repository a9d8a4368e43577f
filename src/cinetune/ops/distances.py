"""Distances between two sets of feature vectors, and between two frames' feature maps, in float64.

Rows are items, columns feature dimensions. Nothing here takes the square root of a matrix: the trace that the
Frechet distance needs is a nuclear norm, which is real and never negative whatever the rank.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer

Vectors = Float[np.ndarray, "n d"]


def frechet(x: Vectors, y: Float[np.ndarray, "m d"]) -> float:
    """Return the squared Frechet distance of the Gaussians fitted to two sets, >= 0.

    |mean(x) - mean(y)|^2 + tr(Sx) + tr(Sy) - 2 tr((Sx Sy)^(1/2)), with covariances over n - 1. With centred rows
    Xc and Yc the last trace is the sum of the singular values of Xc Yc^T / sqrt((n - 1)(m - 1)), because the
    squares of these are the eigenvalues of Sx Sy. Rank-deficient covariances (n <= d) are no special case.

    Source: Dowson and Landau 1982, eq. 4; Heusel et al. 2017 (FID); Unterthiner et al. 2018 (FVD).

    Raises:
        ValueError: a set has fewer than two vectors.
    """
    if min(len(x), len(y)) < 2:
        raise ValueError(f"a covariance needs two vectors, got {len(x)} and {len(y)}")
    mean_x, root_x = _centred(x)
    mean_y, root_y = _centred(y)
    shared = np.linalg.svd(root_x @ root_y.T, compute_uv=False).sum()
    apart = ((mean_x - mean_y) ** 2).sum()
    # The exact value is >= 0; for two equal sets rounding alone leaves about -1e-13.
    return max(0.0, float(apart + (root_x**2).sum() + (root_y**2).sum() - 2 * shared))


def _centred(x: Vectors) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "k d"]]:
    """The mean, and a matrix R of at most d rows with R^T R equal to the covariance."""
    x = x.astype(np.float64)
    mean = x.mean(axis=0)
    root = (x - mean) / np.sqrt(len(x) - 1)
    if len(root) > x.shape[1]:
        root = np.linalg.qr(root, mode="r")  # the same Gram matrix from d rows instead of n
    return mean, root


def polynomial_kernel(x: Vectors, y: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    """Return (x . y / d + 1)^3.

    Source: Binkowski et al. 2018 (Demystifying MMD GANs), sec. 3.
    """
    product = x.astype(np.float64) @ y.astype(np.float64).T
    return np.asarray((product / x.shape[1] + 1.0) ** 3)


def video_kernel(videos: Sequence[Float[np.ndarray, "_ d"]]) -> Float[np.ndarray, "v v"]:
    """Return, for every two videos, the mean of the polynomial kernel over all pairs of their frames.

    Args:
        videos: frame features of each video, frames x d; the numbers of frames may differ.
    """
    stacked = np.concatenate(videos)
    starts = np.cumsum([0] + [len(v) for v in videos[:-1]])
    counts = np.array([len(v) for v in videos])
    kernel = np.empty((len(videos), len(videos)))
    for row, video in enumerate(videos):  # one video at a time: frames^2 numbers never stand in memory at once
        sums = np.add.reduceat(polynomial_kernel(video, stacked), starts, axis=1).sum(axis=0)
        kernel[row] = sums / (counts * len(video))
    return kernel


def mmd(
    kernel: Float[np.ndarray, "v v"],
    left: Integer[np.ndarray, " n"],
    right: Integer[np.ndarray, " m"],
    clusters: Integer[np.ndarray, " v"],
) -> float:
    """Return the unbiased squared maximum mean discrepancy of two subsets of videos; it may be below zero.

    The mean kernel within `left`, plus that within `right`, minus twice that across, each taken over pairs from
    different clusters only. A pair from one cluster is not two independent draws: two windows of one shot, or a
    generated video and the true continuation that it shares its first frame with. Counting such pairs would
    bias the number, and it would do so by more the smaller the sets are.

    Args:
        kernel: of every two videos.
        left, right: positions of the two subsets.
        clusters: what each video belongs to.

    Source: Gretton et al. 2012 (A Kernel Two-Sample Test), eq. 3 and, for pairs, eq. 4.

    Raises:
        ValueError: a subset has no two videos of different clusters.
    """

    def mean(a: Integer[np.ndarray, " a"], b: Integer[np.ndarray, " b"]) -> float:
        apart = clusters[a][:, None] != clusters[b][None, :]
        if not apart.any():
            raise ValueError("an unbiased discrepancy needs two videos of different clusters in each set")
        return float((kernel[np.ix_(a, b)] * apart).sum() / apart.sum())

    return mean(left, left) + mean(right, right) - 2 * mean(left, right)
