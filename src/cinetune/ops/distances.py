"""Kernels of feature vectors, and the discrepancy of two sets of videos under one, in float64.

Rows are items, columns feature dimensions. The Frechet distance is in `ops.frechet`, what looks at nearest
neighbours in `ops.neighbours`.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Integer

Vectors = Float[np.ndarray, "n d"]


Kernel = Callable[[Vectors, Float[np.ndarray, "m d"]], Float[np.ndarray, "n m"]]
"""The value of every vector of one set with every vector of the other."""


def polynomial_kernel(
    x: Vectors, y: Float[np.ndarray, "m d"], *, degree: int = 3, offset: float = 1.0
) -> Float[np.ndarray, "n m"]:
    """Return (x . y / d + offset)^degree.

    Source: Binkowski et al. 2018 (Demystifying MMD GANs), sec. 3, for degree 3 and offset 1.
    """
    product = x.astype(np.float64) @ y.astype(np.float64).T
    return np.asarray((product / x.shape[1] + offset) ** degree)


def gaussian_kernel(x: Vectors, y: Float[np.ndarray, "m d"], *, sigma: float) -> Float[np.ndarray, "n m"]:
    """Return exp(-|x - y|^2 / (2 sigma^2)).

    Source: Jayasumana et al. 2024 (Rethinking FID), eq. 5, with sigma = 10 on unit vectors.
    """
    x, y = x.astype(np.float64), y.astype(np.float64)
    squares = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)[None, :] - 2 * x @ y.T
    return np.asarray(np.exp(-squares.clip(0) / (2 * sigma**2)))


def video_kernel(
    videos: Sequence[Float[np.ndarray, "_ d"]], kernel: Kernel = polynomial_kernel
) -> Float[np.ndarray, "v v"]:
    """Return, for every two videos, the mean of a kernel over all pairs of their frames.

    Args:
        videos: frame features of each video, frames x d; the numbers of frames may differ.
        kernel: of two sets of frames.
    """
    stacked = np.concatenate(videos)
    starts = np.cumsum([0] + [len(v) for v in videos[:-1]])
    counts = np.array([len(v) for v in videos])
    table = np.empty((len(videos), len(videos)))
    for row, video in enumerate(videos):  # one video at a time: frames^2 numbers never stand in memory at once
        sums = np.add.reduceat(kernel(video, stacked), starts, axis=1).sum(axis=0)
        table[row] = sums / (counts * len(video))
    return table


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
