"""Planned numbers of clips against published tables and simulated studies."""

import numpy as np
import pytest

from cinetune.ops.power import fewest, needed, power, spread_range, visible
from cinetune.ops.statistics import mean_swap_test


def test_power_of_the_paired_t_test_as_published() -> None:
    """Cohen 1988: a medium effect (d = 0.5) takes 34 pairs, a large one (0.8) 15, a small one (0.2) 199, for 80 %."""
    assert [needed(effect, power_wanted=0.8, level=0.95) for effect in (0.5, 0.8, 0.2)] == [34, 15, 199]
    assert power(34, 0.5, level=0.95) == pytest.approx(0.8078, abs=1e-4)
    assert power(20, 0.0, level=0.95) == pytest.approx(0.05)
    assert power(10_000, 5.0, level=0.95) == 1


def test_no_number_of_clips_below_what_a_permutation_can_show() -> None:
    """Of 2^6 swaps two are extreme: 1/32; with five clips no p-value is below 1/16."""
    assert fewest(0.95) == 6
    assert fewest(0.5) == 2
    assert needed(50.0, power_wanted=0.8, level=0.95) == 6
    assert needed(1e-9, power_wanted=0.8, level=0.95) is None


def test_what_n_clips_show_is_what_needs_n_clips() -> None:
    for n in (8, 30, 500):
        effect = visible(n, power_wanted=0.8, level=0.95)
        assert needed(effect * 1.0001, power_wanted=0.8, level=0.95) == n


def test_the_range_of_a_spread_holds_it() -> None:
    rng = np.random.default_rng(0)
    ends = [spread_range(float(rng.normal(0, 2, 12).std(ddof=1)), 12, level=0.9) for _ in range(2000)]
    assert np.mean([low <= 2 <= high for low, high in ends]) == pytest.approx(0.9, abs=0.02)


def test_the_permutation_test_has_the_power_that_was_planned() -> None:
    """With the planned number of clips, of a spread that is known: 80 of 100 studies see the difference."""
    rng = np.random.default_rng(1)
    n = needed(0.03 / 0.05, power_wanted=0.8, level=0.95)
    assert n is not None
    seen = [mean_swap_test(rng.normal(0.03, 0.05, n), permutations=199, seed=i) <= 0.05 for i in range(400)]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.06)  # three standard errors
