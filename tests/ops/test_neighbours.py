"""Precision, recall, density and coverage against loops that follow their definitions."""

import numpy as np
import pytest

from cinetune.ops.neighbours import neighbours

K = 3


def by_loops(made: np.ndarray, real: np.ndarray) -> tuple[float, float, float, float]:
    """Precision, recall, density, coverage from their definitions, one pair after the other."""

    def reach(points: np.ndarray, i: int) -> float:
        own = sorted(float(np.linalg.norm(points[i] - points[j])) for j in range(len(points)) if j != i)
        return own[K - 1]

    real_reach = [reach(real, i) for i in range(len(real))]
    made_reach = [reach(made, i) for i in range(len(made))]
    apart = [[float(np.linalg.norm(m - r)) for r in real] for m in made]
    inside = [[apart[i][j] < real_reach[j] for j in range(len(real))] for i in range(len(made))]
    precision = sum(any(row) for row in inside) / len(made)
    recall = sum(any(apart[i][j] < made_reach[i] for i in range(len(made))) for j in range(len(real))) / len(real)
    density = sum(sum(row) for row in inside) / (K * len(made))
    coverage = sum(any(inside[i][j] for i in range(len(made))) for j in range(len(real))) / len(real)
    return precision, recall, density, coverage


def test_all_four_equal_the_loops() -> None:
    rng = np.random.default_rng(0)
    real, made = rng.standard_normal((30, 4)), rng.standard_normal((22, 4)) + 1.2
    near = neighbours(np.concatenate([made, real]), np.arange(52), k=K)
    at = np.arange(22), np.arange(22, 52)
    found = near.precision(*at), near.recall(*at), near.density(*at), near.coverage(*at)
    assert found == pytest.approx(by_loops(made, real))
    assert len(set(found)) == 4
    assert all(0.05 < value < 0.95 for value in found)


def test_a_set_and_its_copy() -> None:
    """Every ball holds its centre and the k - 1 nearer ones: density 1."""
    points = np.random.default_rng(1).standard_normal((20, 6))
    near = neighbours(np.concatenate([points, points]), np.arange(40), k=K)
    at = np.arange(20), np.arange(20, 40)
    assert (near.precision(*at), near.recall(*at), near.coverage(*at)) == (1, 1, 1)
    assert near.density(*at) == pytest.approx(1)


def test_sets_that_lie_apart_share_nothing() -> None:
    points = np.random.default_rng(2).standard_normal((20, 6))
    near = neighbours(np.concatenate([points, points + 100]), np.arange(40), k=K)
    at = np.arange(20), np.arange(20, 40)
    assert (near.precision(*at), near.recall(*at), near.density(*at), near.coverage(*at)) == (0, 0, 0, 0)


def test_pairs_of_one_cluster_count_for_nothing() -> None:
    """Videos that lie near the truth they continue, and near nothing else, are not in the real videos' midst."""
    real = np.random.default_rng(3).standard_normal((12, 40))
    both = np.concatenate([real + 0.01, real])
    at = np.arange(12), np.arange(12, 24)
    assert neighbours(both, np.arange(24), k=1).coverage(*at) == 1
    paired = neighbours(both, np.tile(np.arange(12), 2), k=1)
    assert paired.coverage(*at) < 0.9
    windows = neighbours(both, np.arange(24) // 2, k=1)  # neighbours of one shot do not set the reach
    assert np.isinf(windows.apart[0, 1])


def test_too_few_say_how_many_are_needed() -> None:
    near = neighbours(np.random.default_rng(4).standard_normal((8, 2)), np.arange(8), k=K)
    with pytest.raises(ValueError, match="need 4 videos of different clusters in each set, got 3"):
        near.precision(np.arange(5), np.arange(5, 8))
    clustered = neighbours(np.random.default_rng(4).standard_normal((8, 2)), np.array([0, 1, 2, 3, 4, 4, 5, 6]), k=K)
    with pytest.raises(ValueError, match="got 3"):
        clustered.precision(np.arange(4), np.arange(4, 8))
    with pytest.raises(ValueError, match="got 0"):
        near.density(np.arange(0), np.arange(8))
