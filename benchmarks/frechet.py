"""The Frechet step with an interval against matrix square roots: `python benchmarks/frechet.py`.

At n = 256 videos in either set and d = 400 dimensions: one distance, its jackknife interval, and its bootstrap interval
of 1,000 resamples, against 1,000 times `scipy.linalg.sqrtm` of the product of the covariances, which is what other
tools compute for each distance. Few square roots are timed, and the time is multiplied.
"""

import time
from collections.abc import Callable

import numpy as np
from scipy.linalg import sqrtm

from cinetune.metrics._frechet import compare
from cinetune.ops.frechet import pulls
from cinetune.ops.set_intervals import bootstrap, first_order, jackknife

N, D, REPLICATES, ROOTS = 256, 400, 1000, 20


def main() -> None:
    """Print seconds, and the share of the time of 1,000 square roots."""
    rng = np.random.default_rng(0)
    scale = np.sqrt(10 / np.arange(1, D + 1))
    videos = rng.standard_normal((2 * N, D)) * scale
    made = compare([video[None] for video in videos])
    left, right, clusters = np.arange(N), np.arange(N, 2 * N), np.arange(2 * N)
    strata = np.repeat([0, 1], N)

    def statistic(times: np.ndarray) -> float:
        return made.distance(np.repeat(left, times[:N]), np.repeat(right, times[N:]))

    covariances = [np.cov(videos[at].T) for at in (left, right)]
    root, _ = _timed(lambda: [sqrtm(covariances[0] @ covariances[1]) for _ in range(ROOTS)])
    root /= ROOTS
    print(f"scipy.linalg.sqrtm of {D} x {D}: {root:.3f} s, the mean of {ROOTS}")
    print(f"{REPLICATES} of them, extrapolated: {REPLICATES * root:.0f} s")
    everything = np.ones(2 * N, np.int64)
    ways: dict[str, Callable[[], object]] = {
        "one distance": lambda: statistic(everything),
        f"bootstrap, {REPLICATES} resamples": lambda: bootstrap(
            statistic, clusters, level=0.95, resamples=REPLICATES, seed=0, strata=strata
        ),
        "jackknife, 2 x 100 groups": lambda: jackknife(statistic, clusters, level=0.95, seed=0, strata=strata),
        "first order": lambda: first_order(
            statistic(everything),
            np.concatenate(pulls(videos[left], videos[right])),
            clusters,
            level=0.95,
            strata=strata,
        ),
    }
    for name, way in ways.items():
        seconds, value = _timed(way)
        print(f"{name:28} {seconds:8.3f} s, {seconds / (REPLICATES * root):8.2%} of the square roots: {value}")


def _timed(work: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    value = work()
    return time.perf_counter() - start, value


if __name__ == "__main__":
    main()
