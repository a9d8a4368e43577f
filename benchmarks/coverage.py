"""How often intervals of a Frechet distance hold the truth, and how wide they are: `python benchmarks/coverage.py`.

Simulated studies. Feature vectors have a spectrum like 1/k and heavier tails than a Gaussian; "tuned" and "base" share
their clip with "real". The truth is the expected value of the statistic at the same n, from many more studies.
Arguments: studies, resamples and the values of n; without them 200, 200 and 24, 64, 256. The last takes the longest.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Integer

from cinetune.metrics._frechet import compare
from cinetune.ops import frechet
from cinetune.ops.set_intervals import bootstrap, first_order, jackknife
from cinetune.ops.statistics import Interval

Vectors = Float[np.ndarray, "n d"]
LEVEL = 0.95
SIZES = (24, 64, 256)
WIDTHS = (64, 400)


def study(rng: np.random.Generator, n: int, d: int) -> tuple[Vectors, Vectors, Vectors]:
    """Return real, tuned and base vectors of n clips; tuned is nearer to real."""
    scale = np.sqrt(10 / np.arange(1, d + 1))

    def vectors() -> Vectors:
        return rng.standard_normal((n, d)) * scale * np.sqrt(rng.gamma(4, 1 / 4, (n, 1)))

    scene = vectors()
    real = 0.8 * scene + 0.6 * vectors()
    tuned = 0.8 * scene + 0.6 * vectors() + 0.1
    base = 0.64 * scene + 0.48 * vectors() + 0.2
    return real, tuned, base


def statistics(clips: tuple[Vectors, Vectors, Vectors]) -> dict[str, Callable[[Integer[np.ndarray, " n"]], float]]:
    """Return the distance of tuned to real, and that less the distance of base, by how often each clip counts."""
    n = len(clips[0])
    made = compare([vector[None] for vector in np.concatenate(clips)])

    def distance(arm: int, times: Integer[np.ndarray, " n"]) -> float:
        at = np.repeat(np.arange(n), times)
        return made.distance(at + arm * n, at)

    return {
        "alone": lambda times: distance(1, times),
        "difference": lambda times: distance(1, times) - distance(2, times),
    }


def pulls(clips: tuple[Vectors, Vectors, Vectors]) -> dict[str, Float[np.ndarray, " n"]]:
    """Return what each clip adds to either number, to first order."""
    tuned, base = (sum(frechet.pulls(clips[arm], clips[0])) for arm in (1, 2))
    return {"alone": tuned, "difference": tuned - base}


def intervals(
    statistic: Callable[[Integer[np.ndarray, " n"]], float], pull: Float[np.ndarray, " n"], seed: int, resamples: int
) -> dict[str, Interval]:
    """Return the interval of each method; both bootstraps are of the same draws."""
    n = len(pull)
    clusters = np.arange(n)
    drawn: list[float] = []

    def told(times: Integer[np.ndarray, " n"]) -> float:
        drawn.append(statistic(times))
        return drawn[-1]

    moved = bootstrap(told, clusters, level=LEVEL, resamples=resamples, seed=seed)
    estimate = drawn.pop()  # computed last
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {
        "jackknife": jackknife(statistic, clusters, level=LEVEL, seed=seed),
        "first order": first_order(estimate, pull, clusters, level=LEVEL),
        "percentile bootstrap": Interval(float(low), float(high)),
        "moved bootstrap": moved,
    }


def main(studies: int = 200, resamples: int = 200, *sizes: int) -> None:
    """Print coverage and width (over 2 x 1.96 standard deviations of the estimate) for each n and d."""
    print(f"{studies} studies, {resamples} resamples, level {LEVEL:.0%}; coverage, width / ideal width")
    for d in WIDTHS:
        for n in sizes or SIZES:
            start = time.perf_counter()
            once = np.ones(n, np.int64)
            rng = np.random.default_rng(0)
            values: dict[str, list[float]] = {"alone": [], "difference": []}
            for _ in range(4 * studies):
                for name, statistic in statistics(study(rng, n, d)).items():
                    values[name].append(statistic(once))
            found: dict[tuple[str, str], list[Interval]] = {}
            for seed in range(studies):
                clips = study(rng, n, d)
                pull = pulls(clips)
                for name, statistic in statistics(clips).items():
                    for method, interval in intervals(statistic, pull[name], seed, resamples).items():
                        found.setdefault((name, method), []).append(interval)
            for (name, method), made in found.items():
                truth, spread = np.mean(values[name]), np.std(values[name])
                covered = np.mean([low <= truth <= high for low, high in made])
                width = np.mean([high - low for low, high in made]) / (2 * 1.96 * spread)
                print(f"d {d:3} n {n:3} {name:10} {method:20} {covered:6.3f} {width:6.2f}", flush=True)
            print(f"  truths { ({k: round(float(np.mean(v)), 2) for k, v in values.items()}) }", end=", ")
            print(f"{time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
