"""Comparison of sets of videos by the Frechet distance, shared by every metric that uses it."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from cinetune.metrics._contract import Comparison, Moments, Positions, Pulls
from cinetune.ops import frechet

HEAVY = 256
"""Vectors in a set above which intervals and tests go by first-order pulls: one decomposition instead of hundreds."""


def compare(videos: Sequence[Float[np.ndarray, "_ d"]], *, ddof: int = 1) -> Comparison:
    """Compare subsets by the Frechet distance of the Gaussians fitted to all their vectors.

    Args:
        videos: vectors of each video, one or several.
        ddof: covariances are over n - ddof.
    """
    rows = np.concatenate(videos).astype(np.float64)
    counts = np.array([len(video) for video in videos])
    first = np.cumsum(counts) - counts
    owner = np.repeat(np.arange(len(videos)), counts)
    width, each = rows.shape[1], int(np.median(counts))
    enough = -(-(width + 1) // each)

    @lru_cache(maxsize=4)  # in a permutation test one side never changes
    def fit(key: bytes) -> frechet.Gaussian:
        at = np.frombuffer(key, np.int64)
        if len(at) < 2:
            raise ValueError(f"a covariance needs two videos, got {len(at)}")
        distinct, times = np.unique(at, return_counts=True)
        picked = np.isin(owner, distinct)
        copies = np.repeat(times, counts[distinct]) if (times > 1).any() else None
        return frechet.fitted(rows[picked], ddof=ddof, times=copies)

    def of(at: Positions) -> frechet.Gaussian:
        return fit(at.astype(np.int64).tobytes())

    def count(at: Positions) -> int:
        return int(counts[at].sum())

    def distance(left: Positions, right: Positions) -> float:
        return frechet.between(of(left), of(right))

    def pulls(left: Positions, right: Positions) -> Pulls | None:
        if max(count(left), count(right)) <= HEAVY:
            return None
        of_rows = frechet.pulls(_rows(left), _rows(right), ddof=ddof)
        return _per_video(of_rows[0], left), _per_video(of_rows[1], right)

    def _rows(at: Positions) -> Float[np.ndarray, "_ d"]:
        return np.concatenate([rows[first[i] : first[i] + counts[i]] for i in at])

    def _per_video(values: Float[np.ndarray, " _"], at: Positions) -> Float[np.ndarray, " _"]:
        return np.add.reduceat(values, np.cumsum([0, *counts[at][:-1]]))

    def caution(n: int) -> str:
        if n >= enough:
            return ""
        videos_named = f"{n} videos" if each == 1 else f"{n} videos of {each} frames"
        least = "would" if each == 1 else "would at the least"
        return (
            f"biased upwards: {videos_named} cannot fill the covariance of {width} feature dimensions "
            f"({enough} {least}); compare only with numbers at the same n"
        )

    def against(to: frechet.Gaussian) -> Comparison:
        def pulls_to(left: Positions, right: Positions) -> Pulls | None:
            if count(left) <= HEAVY:
                return None
            return _per_video(frechet.pulls_to(_rows(left), to, ddof=ddof), left), np.zeros(len(right))

        return Comparison(lambda left, right: frechet.between(of(left), to), caution, pulls_to)

    return Comparison(distance, caution, pulls, Moments(of, count, against))
