"""The learning rate of each step, as a share of its peak."""

import math
from collections.abc import Callable

from cinetune.recipe import Train as Settings


def share(step: int, settings: Settings) -> float:
    """Return the share 0..1 of the peak learning rate at a step (from 0): linear warm-up, then the schedule."""
    warmup = round(settings.warmup * settings.steps)
    if step < warmup:
        return (step + 1) / warmup
    return SCHEDULES[settings.schedule](step, warmup, settings)


def _constant(step: int, warmup: int, settings: Settings) -> float:
    return 1.0


def _cosine(step: int, warmup: int, settings: Settings) -> float:
    """Half a cosine, from 1 to 0 at the step after the last (Loshchilov and Hutter 2017, arXiv 1608.03983, eq. 5)."""
    along = (step - warmup) / max(1, settings.steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * along))


def _wsd(step: int, warmup: int, settings: Settings) -> float:
    """Warm-up, stable, decay (Hu et al. 2024, arXiv 2404.06395, sec. 4); it falls as one minus the square root of the
    way, which Haegele et al. 2024 (arXiv 2405.18392, sec. 3) found to do better than a line.
    """
    decay = max(1, round(settings.decay * settings.steps))
    along = max(0, step - (settings.steps - decay)) / decay
    return 1 - math.sqrt(along)


SCHEDULES: dict[str, Callable[[int, int, Settings], float]] = {
    "cosine": _cosine,
    "constant": _constant,
    "wsd": _wsd,
}
"""By the name that `train.schedule` gives."""
