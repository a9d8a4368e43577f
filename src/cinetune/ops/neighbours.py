"""Whether the videos of one set lie among those of another: precision, recall, density and coverage.

Around every vector stands a ball that reaches to its k-th nearest neighbour in its own set. Pairs of one cluster are no
pairs here: a window's nearest neighbour would always be the next window of its shot, and a generated video always lies
near the true continuation whose first frame it was given. Where every video is a cluster of its own, these are the
published numbers.

Source: Kynkaanniemi et al. 2019 (Improved Precision and Recall Metric), eq. 1 and 2; Naeem et al. 2020 (Reliable
Fidelity and Diversity Metrics), eq. 3 to 5.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy.spatial.distance import cdist

Positions = Integer[np.ndarray, " _"]


@dataclass(frozen=True)
class Neighbours:
    """Distances of every two videos, made ready to compare any two subsets."""

    apart: Float[np.ndarray, "v v"]
    """Euclidean distance; infinite within a cluster."""
    k: int

    def precision(self, left: Positions, right: Positions) -> float:
        """Return the share of `left` that lies in a ball of `right`, 0..1."""
        return float(self._inside(left, right).any(axis=1).mean())

    def recall(self, left: Positions, right: Positions) -> float:
        """Return the share of `right` that lies in a ball of `left`, 0..1."""
        return self.precision(right, left)

    def density(self, left: Positions, right: Positions) -> float:
        """Return how many balls of `right` a vector of `left` lies in, over k; about 1 where the sets are alike."""
        return float(self._inside(left, right).sum(axis=1).mean() / self.k)

    def coverage(self, left: Positions, right: Positions) -> float:
        """Return the share of `right` with a vector of `left` in its ball, 0..1."""
        return float(self._inside(left, right).any(axis=0).mean())

    def _inside(self, points: Positions, centres: Positions) -> Bool[np.ndarray, "n m"]:
        """Whether each point lies in the ball of each centre.

        Raises:
            ValueError: a centre has fewer than k neighbours, or there is no point.
        """
        among = self.apart[np.ix_(centres, centres)]
        if len(centres) <= self.k or not len(points):
            raise ValueError(self._few(len(centres) if len(points) else 0))
        radii = np.partition(among, self.k - 1, axis=1)[:, self.k - 1]
        if np.isinf(radii).any():
            raise ValueError(self._few(int(np.isfinite(among).sum(axis=1).min()) + 1))
        return np.asarray(self.apart[np.ix_(points, centres)] < radii[None, :])

    def _few(self, found: int) -> str:
        return f"nearest neighbours need {self.k + 1} videos of different clusters in each set, got {found}"


def neighbours(vectors: Float[np.ndarray, "v d"], clusters: Integer[np.ndarray, " v"], *, k: int) -> Neighbours:
    """Return the distances of every two videos that are not of one cluster.

    Args:
        vectors: one a video.
        clusters: what each video belongs to.
        k: the neighbour to which a ball reaches, 1 and up.
    """
    apart = cdist(vectors.astype(np.float64), vectors.astype(np.float64))
    apart[clusters[:, None] == clusters[None, :]] = np.inf
    return Neighbours(apart, k)
