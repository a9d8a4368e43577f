"""Arithmetic on numbers of the same clips, some of which may have none."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

from cinetune.ops.statistics import Interval

Values = Sequence[float | None]
"""One number for each clip; None where there is none."""


def mean(values: Values) -> float | None:
    """Return the mean of the numbers that are there, or None where there are none."""
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def differences(values: Values, others: Values) -> Float[np.ndarray, " n"]:
    """Return value minus other of the clips that have both."""
    pairs = zip(values, others, strict=True)
    return np.array([a - b for a, b in pairs if a is not None and b is not None], np.float64)


def mean_interval(values: Float[np.ndarray, " n"], level: float) -> Interval | None:
    """Return Student's interval of a mean, None from fewer than two values.

    At eight clips the bootstrap of `ops.statistics` is too narrow; this is not, as long as the skew is mild.

    Args:
        values: independent numbers, such as paired differences.
        level: coverage, 0..1.

    Source: Student 1908 (The Probable Error of a Mean).
    """
    if len(values) < 2:
        return None
    half = student.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return Interval(float(values.mean() - half), float(values.mean() + half))
