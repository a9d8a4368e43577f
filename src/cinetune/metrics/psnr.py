"""Peak signal-to-noise ratio of a video to its true continuation."""

import math

import numpy as np

from cinetune.metrics._contract import Card, Features, Item, ItemMetric, Look, Measured


def look(item: Item, _: None) -> Features:
    """Return `squares`: mean squared difference of each of frames 1..end, grey levels squared, frames - 1."""
    assert item.reference is not None
    pairs = zip(item.frames[1:], item.reference[1:], strict=True)
    squares = [np.square(a.astype(np.float32) - b).mean(dtype=np.float64) for a, b in pairs]
    return {"squares": np.array(squares)}


def score(features: Features) -> Measured:
    """Return 10 log10(255^2 / mean squared difference over frames 1..end), dB."""
    error = float(features["squares"].mean())
    if error == 0:
        return Measured(None, "all frames are equal to the reference: the ratio is infinite")
    return Measured(10 * math.log10(255**2 / error))


METRIC = ItemMetric(
    name="psnr",
    version="1",
    unit="dB",
    better="higher",
    kind="pair",
    least=8,
    source="ITU-T J.340, eq. 1, over the frames that were not given",
    card=Card(
        measures="How many decibels the true continuation is above the error of the pixels.",
        caveats="Rewards blur, and punishes a small shift as much as a wrong picture.",
    ),
    look=Look("psnr", "1", None, look, pair=True),
    score=score,
)
