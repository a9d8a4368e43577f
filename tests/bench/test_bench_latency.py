"""latency(r) = base (1 + c0 + c1 r): from times made with known c0 and c1."""

import numpy as np
import pytest

from cinetune.bench.latency import fit, mean, ratio
from cinetune.errors import RecipeError

RANKS = [4, 8, 16, 32, 64, 128]
C0, C1 = 0.06, 2e-4


def made(rounds: int, noise: float, seed: int = 0) -> np.ndarray:
    """Ratios of a machine on which every round and cell is off by `noise`."""
    rng = np.random.default_rng(seed)
    true = 1 + C0 + C1 * np.array(RANKS)
    return true * np.exp(noise * rng.standard_normal((rounds, len(RANKS))))


def test_without_noise_the_line_is_the_one_that_made_the_ratios() -> None:
    line = fit(RANKS, made(5, 0.0), seed=0)
    assert line.c0.value == pytest.approx(C0, abs=1e-12)
    assert line.c1.value == pytest.approx(C1, abs=1e-14)
    assert line.worst < 1e-12
    assert line.at(20) == pytest.approx(1 + C0 + 20 * C1)


def test_it_is_least_squares_of_the_mean_ratios() -> None:
    ratios = made(7, 0.05)
    line = fit(RANKS, ratios, seed=0)
    slope, height = np.polyfit(RANKS, ratios.mean(axis=0) - 1, 1)
    assert (line.c0.value, line.c1.value) == (pytest.approx(height), pytest.approx(slope))
    left = ratios.mean(axis=0) - 1 - (height + slope * np.array(RANKS))
    assert line.worst == pytest.approx(np.abs(left).max())


def test_intervals_hold_what_is_true_about_as_often_as_they_say() -> None:
    lines = [fit(RANKS, made(20, 0.03, seed), seed=0) for seed in range(100)]
    assert 85 <= sum(bool(line.c0.holds(C0)) for line in lines) <= 100
    assert 85 <= sum(bool(line.c1.holds(C1)) for line in lines) <= 100
    assert not any(line.c0.holds(0.2) for line in lines)


@pytest.mark.parametrize("rank", [0, 3, 129])
def test_it_is_not_drawn_out_beyond_what_was_measured(rank: int) -> None:
    line = fit(RANKS, made(3, 0.01), seed=0)
    with pytest.raises(RecipeError, match=f"rank {rank}: ranks 4 to 128 were measured"):
        line.at(rank)


@pytest.mark.parametrize("ranks", [[8], [8, 8], [0, 8]])
def test_a_line_needs_two_ranks(ranks: list[int]) -> None:
    with pytest.raises(RecipeError, match="two ranks above 0"):
        fit(ranks, np.ones((3, len(ranks))), seed=0)


@pytest.mark.parametrize("rounds", [1, 7])
def test_few_rounds_have_no_interval(rounds: int) -> None:
    line = fit(RANKS, made(rounds, 0.0), seed=0)
    assert (line.c0.low, line.c0.high, line.c0.holds(C0)) == (None, None, None)
    assert fit(RANKS, made(8, 0.01), seed=0).c0.low is not None
    assert ratio(np.array([2.0]), np.array([1.0]), seed=0) == (pytest.approx(2.0), None, None)


def test_drift_of_the_machine_that_hits_a_whole_round_cancels() -> None:
    rng = np.random.default_rng(0)
    drift, base = np.exp(rng.standard_normal(12)), np.full(12, 0.03)
    over = ratio(1.07 * base * drift, base * drift, seed=0)
    assert over == (pytest.approx(1.07), pytest.approx(1.07), pytest.approx(1.07))


def test_twice_and_half_cancel() -> None:
    assert ratio(np.array([2.0, 0.5]), np.ones(2), seed=0).value == pytest.approx(1.0)
    assert mean(np.array([2.0, 0.5]), seed=0).value == 1.25
