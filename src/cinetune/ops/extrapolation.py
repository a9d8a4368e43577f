"""A distance of two sets, followed to sets without end.

A Frechet distance from n videos is too large by about b / n once n exceeds the number of feature dimensions: measured
between two draws from one real distribution (UCF-101 in I3D, d = 400, truth 0) it is 225 at n = 512 and 54 at 2,048.
Distances between parts of the sets show b, and a straight line through them ends at 1/n = 0.

Source: Chong and Forsyth 2020 (Effectively Unbiased FID and Inception Score), sec. 3.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

Positions = Integer[np.ndarray, " _"]
PARTS = (1, 2, 3, 4)
"""Into how many parts the sets are cut; as many of these as leave every part enough videos."""
CUTS = 4
"""Ways to cut that are averaged."""


@dataclass(frozen=True)
class Cuts:
    """Random orders of all clusters; a part of a set is a stretch of one."""

    rank: Integer[np.ndarray, "cuts v"]
    """Place of each video's cluster in each order."""
    least: int
    """Videos that each part of either set must have."""

    def limit(self, distance: Callable[[Positions, Positions], float], left: Positions, right: Positions) -> float:
        """Return the end at 1/n = 0 of the line of least squares through distance against 1/n.

        Both sets are cut into as many parts. Where they hold the same clusters, so do their parts.

        Raises:
            ValueError: the sets are too small for two parts.
        """
        few = min(len(left), len(right))
        rates, values = [], []
        for parts in PARTS:
            if few < parts * self.least:
                break
            pairs = [
                pair
                for cut in range(len(self.rank) if parts > 1 else 1)
                for pair in zip(self._parts(left, cut, parts), self._parts(right, cut, parts), strict=True)
            ]
            if min(min(len(a), len(b)) for a, b in pairs) < self.least:
                break
            rates.append(np.mean([(1 / len(a) + 1 / len(b)) / 2 for a, b in pairs]))
            values.append(np.mean([distance(a, b) for a, b in pairs]))
        if len(rates) < 2:
            raise ValueError(
                f"following a distance to infinite n needs {self.least} videos in each half of either set, "
                f"got {few} in all; {2 * self.least} would do"
            )
        return float(np.polyfit(rates, values, 1)[1])

    def _parts(self, at: Positions, cut: int, parts: int) -> list[Positions]:
        """The videos of each part: whole clusters, as many in each part as can be."""
        _, place = np.unique(self.rank[cut][at], return_inverse=True)
        part = place * parts // (place.max() + 1)
        return [at[part == i] for i in range(parts)]


def cuts(vectors: Float[np.ndarray, "v d"], clusters: Integer[np.ndarray, " v"], *, least: int, seed: int) -> Cuts:
    """Draw the orders of the clusters from `seed`, whatever order the videos come in.

    Args:
        vectors: one a video; they name the clusters, since places in a list do not.
        clusters: what each video belongs to.
        least: videos that each part must have.
        seed: of the orders.
    """
    place = np.empty(len(vectors), np.int64)
    place[np.lexsort(vectors.T[::-1])] = np.arange(len(vectors))
    _, index = np.unique(clusters, return_inverse=True)
    first = np.full(index.max() + 1, len(vectors))
    np.minimum.at(first, index, place)
    own = np.argsort(np.argsort(first))
    rng = np.random.default_rng(seed)
    return Cuts(np.stack([rng.permutation(len(first))[own][index] for _ in range(CUTS)]), least)
