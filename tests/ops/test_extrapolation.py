"""Distances followed to infinite n, where the truth is known."""

import numpy as np
import pytest

from cinetune.ops.extrapolation import cuts
from cinetune.ops.frechet import frechet


def test_a_bias_of_one_over_n_is_taken_off_exactly() -> None:
    """Also where the sets are of unequal size and the clusters of one too."""
    vectors = np.random.default_rng(0).standard_normal((100, 3))
    made = cuts(vectors, np.arange(100), least=4, seed=0)

    def distance(left: np.ndarray, right: np.ndarray) -> float:
        return 7 + 30 * (1 / len(left) + 1 / len(right))

    assert made.limit(distance, np.arange(40), np.arange(40, 100)) == pytest.approx(7, abs=1e-9)


def test_the_frechet_distance_loses_its_bias() -> None:
    """Two draws from one distribution: the truth is 0."""
    rng = np.random.default_rng(1)
    plain, limits = [], []
    left, right = np.arange(150), np.arange(150, 300)
    for i in range(30):
        x = rng.standard_normal((300, 8))
        plain.append(frechet(x[left], x[right]))
        made = cuts(x, np.arange(300), least=9, seed=i)
        limits.append(made.limit(lambda a, b, x=x: frechet(x[a], x[b]), left, right))
    error = np.std(limits) / np.sqrt(30)
    assert abs(np.mean(limits)) < 0.15 * np.mean(plain)
    assert abs(np.mean(limits)) < 3 * error + 0.1 * np.mean(plain)


def test_parts_hold_whole_clusters_and_are_alike_in_both_sets() -> None:
    clusters = np.tile(np.repeat(np.arange(10), 3), 2)
    vectors = np.random.default_rng(2).standard_normal((60, 2))
    seen: list[tuple[set[int], set[int]]] = []

    def distance(left: np.ndarray, right: np.ndarray) -> float:
        seen.append((set(clusters[left].tolist()), set(clusters[right].tolist())))
        assert len(left) == len(right) == 3 * len(seen[-1][0])
        return 1.0

    cuts(vectors, clusters, least=9, seed=0).limit(distance, np.arange(30), np.arange(30, 60))
    assert all(one == other for one, other in seen)
    assert len(seen) == 1 + 4 * (2 + 3)  # the whole, and four cuts into halves and thirds; a fourth is too small


def test_order_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    vectors, clusters = rng.standard_normal((80, 4)), np.arange(80) // 2
    shuffled = rng.permutation(80)
    place = np.argsort(shuffled)
    whole = cuts(vectors, clusters, least=5, seed=0)
    other = cuts(vectors[shuffled], (7 * clusters + 3)[shuffled], least=5, seed=0)
    left, right = np.arange(40), np.arange(40, 80)
    expected = whole.limit(lambda a, b: frechet(vectors[a], vectors[b]), left, right)
    moved = vectors[shuffled]
    found = other.limit(lambda a, b: frechet(moved[a], moved[b]), place[left], rng.permutation(place[right]))
    assert found == pytest.approx(expected, rel=1e-9)


def test_too_few_say_how_many_would_do() -> None:
    made = cuts(np.random.default_rng(4).standard_normal((30, 8)), np.arange(30), least=9, seed=0)
    with pytest.raises(ValueError, match="needs 9 videos in each half of either set, got 15 in all; 18 would do"):
        made.limit(lambda a, b: 0.0, np.arange(15), np.arange(15, 30))
