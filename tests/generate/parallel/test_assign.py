"""Chains of windows on groups of processes."""

import itertools

import numpy as np

from cinetune.generate.parallel.assign import assign, cost_left


def loads(shares: list[list[int]], costs: list[float]) -> list[float]:
    return [sum(costs[place] for place in share) for share in shares]


def test_never_longer_than_four_thirds_of_the_best() -> None:
    """Against every way there is; Graham's bound is 4/3 - 1 / (3 groups)."""
    g = np.random.default_rng(0)
    for _ in range(20):
        costs = [float(cost) for cost in g.integers(1, 20, 7)]
        best = min(
            max(sum(c for c, at in zip(costs, where, strict=True) if at == group) for group in range(3))
            for where in itertools.product(range(3), repeat=7)
        )
        shares = assign([[(str(n), cost)] for n, cost in enumerate(costs)], 3)
        assert sorted(itertools.chain(*shares)) == list(range(7))
        assert max(loads(shares, costs)) <= best * (4 / 3 - 1 / 9) + 1e-9


def test_the_longest_first_and_of_equals_the_first() -> None:
    chains = [[("a", 1.0)], [("b1", 2.0), ("b2", 2.0)], [("c", 1.0)], [("d", 3.0)]]
    assert assign(chains, 2) == [[1, 2], [3, 0]]
    assert assign(chains, 1) == [[1, 3, 0, 2]]
    assert assign(chains, 6) == [[1], [3], [0], [2], [], []]


def test_what_is_on_disk_costs_nothing() -> None:
    chains = [[("a1", 5.0), ("a2", 1.0)], [("b", 2.0)], [("c", 3.0)]]
    assert cost_left(chains[0], {"a1"}) == 1.0
    assert assign(chains, 2, {"a1", "c"}) == [[1], [0]]
    assert assign(chains, 2, {"a1", "a2", "b", "c"}) == [[], []]
