"""How much neighbouring frames differ."""

import itertools

import numpy as np
from jaxtyping import Float

from cinetune.metrics._contract import Frames


def steps(frames: Frames) -> Float[np.ndarray, " n"]:
    """Return the mean absolute difference of each two neighbouring frames over all channels, grey levels 0..255."""
    pairs = itertools.pairwise(frames)
    return np.array([np.abs(b.astype(np.int16) - a).mean(dtype=np.float64) for a, b in pairs])
