"""How many independent clips show a difference, by the power of a two-sided paired t test.

The tests that results carry are permutation tests; at the numbers of clips that come out here their power is that of t.
"""

from math import ceil, log2, sqrt

from scipy.optimize import brentq
from scipy.stats import chi2, nct, t

MOST = 10_000_000
"""Clips beyond which nobody counts."""


def power(n: int, effect: float, *, level: float) -> float:
    """Return the chance that n clips show a difference, 0..1.

    Args:
        n: clips, two or more.
        effect: the true difference over the standard deviation of the clips' differences, 0 and up.
        level: 1 - the chance to see one where there is none.

    Source: Cohen 1988 (Statistical Power Analysis), ch. 2; noncentral t.
    """
    edge = t.ppf((1 + level) / 2, n - 1)
    if effect == 0:
        return 1 - level
    shift = effect * sqrt(n)
    if shift > 30:  # where the noncentral t is slow and the answer is 1
        return 1.0
    wrong_side = nct.cdf(-edge, n - 1, shift) if shift < 5 else 0.0  # below 1e-6, where scipy returns no number
    return float(nct.sf(edge, n - 1, shift) + wrong_side)


def fewest(level: float) -> int:
    """Return the clips below which no permutation can reach the level: of all 2^n swaps two are extreme."""
    return ceil(log2(2 / (1 - level)) - 1e-9)


def needed(effect: float, *, power_wanted: float, level: float) -> int | None:
    """Return the smallest n that shows an effect with the power wanted; None where that is above MOST.

    Args:
        effect: as `power`, above 0.
        power_wanted: 0..1.
        level: as `power`.
    """
    low, high = fewest(level) - 1, fewest(level)
    while power(high, effect, level=level) < power_wanted:
        low, high = high, 2 * high
        if high > MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle, effect, level=level) >= power_wanted else (middle, high)
    return high


def visible(n: int, *, power_wanted: float, level: float) -> float:
    """Return the effect that n clips show with the power wanted (see `needed`), n >= 2."""
    return float(brentq(lambda effect: power(n, effect, level=level) - power_wanted, 0, 1000 / sqrt(n)))


def spread_range(spread: float, n: int, *, level: float) -> tuple[float, float]:
    """Return the interval of a standard deviation that was measured on n clips of a Gaussian, n >= 2."""
    low, high = chi2.ppf([(1 + level) / 2, (1 - level) / 2], n - 1)
    return spread * sqrt((n - 1) / low), spread * sqrt((n - 1) / high)
