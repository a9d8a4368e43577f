"""Whether the film jumps where two windows meet: the difference of neighbouring frames there, beside all others.

A join is judged against the film it is in: its largest difference against the 95th percentile of the differences that
are in no join. Of ordinary differences one in twenty is above that too, so `judge` counts and compares with chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from scipy.stats import betabinom

from cinetune.generate.expansion import Span
from cinetune.generate.window import Frames

LIMIT = 95
"""Percentile of the film's own differences, %."""
LEAST = 20
"""Differences outside of joins below which a film has no 95th percentile."""
AROUND = 0.5
"""What is around a join: so many s before and after it."""
CHANCE = 0.05
"""Joins are worse than the film where chance would give so many jumps less often."""


@dataclass(frozen=True)
class Join:
    """Where two windows meet. One line of joins.jsonl."""

    shot: str
    window: int
    """The one that begins here; 0 is the first of the shot."""
    time: float
    """Of its first new frame in the film, s."""
    steps: int
    """Neighbouring frames whose difference the hand-over has a part in."""
    difference: float
    """The largest of them: mean absolute difference of two frames, levels 0..255."""
    around: float | None
    """Median difference of the same shot within half a second, outside of joins; None where there is none."""
    others: int
    """Differences of the film outside of joins."""
    limit: float | None
    """95th percentile of them; None where `reason` says why."""
    percentile: float | None
    """Share of the film's differences outside of joins that are not larger, %."""
    above: int | None
    """How many of the steps are above the limit."""
    reason: str = ""
    schema: int = 1

    def __str__(self) -> str:
        """One line."""
        place = f"{self.shot}, {int(self.time) // 60}:{self.time % 60:04.1f}: {self.difference:.1f} levels"
        if self.limit is None:
            return f"{place}, not judged: {self.reason}"
        if self.above:
            return f"{place}, a jump: above the {LIMIT}th percentile {self.limit:.1f} of this film"
        return f"{place}, no jump: percentile {self.percentile:.0f} of this film"


class Steps:
    """The differences of neighbouring frames along a shot."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.values: list[float] = []
        self._before: Frames | None = None

    def add(self, frames: Frames) -> None:
        """Look at the frames that follow."""
        for frame in frames:
            if self._before is not None:
                apart = np.abs(frame.astype(np.int32) - self._before[0])
                self.values.append(float(apart.mean(dtype=np.float64)) / 257)
            self._before = frame[None]


@dataclass(frozen=True)
class Seen:
    """One shot of the film."""

    shot: str
    start: float
    """Of its first frame in the film, s."""
    fps: float
    spans: Sequence[Span]
    values: Float[np.ndarray, " n"]
    """Of `Steps`; the first is the difference of the shot's frames 0 and 1."""
    free: np.ndarray = field(init=False)
    """Which of them are in no join."""

    def __post_init__(self) -> None:
        """Find them."""
        free = np.ones(len(self.values), bool)
        for span in self.spans[1:]:
            free[steps_of(span)] = False
        object.__setattr__(self, "free", free)


@dataclass(frozen=True)
class Verdict:
    """Of all joins of a film together."""

    joins: int
    jumps: int
    """Joins with a step above the limit."""
    steps: int
    above: int
    chance: float | None
    """How often as many steps of all would be above the limit, or more, if joins were as any other place of the film;
    0..1. None where nothing could be judged."""
    schema: int = 1

    @property
    def holds(self) -> bool:
        """Whether the joins have no more jumps than the rest of the film."""
        return self.chance is None or self.chance >= CHANCE

    def __str__(self) -> str:
        """One line."""
        if self.chance is None:
            return f"{self.joins} joins, none judged"
        usual = self.steps * (1 - LIMIT / 100)
        return (f"{self.jumps} of {self.joins} joins jump: {self.above} of {self.steps} steps are above the {LIMIT}th "
                f"percentile, of as many elsewhere {usual:.1f}")  # fmt: skip


def steps_of(span: Span) -> slice:
    """Return the differences that the hand-over to a window has a part in.

    A single shared frame is the old window's, so only the step from it to the next is new. A fade has one more step
    than frames.
    """
    return slice(span.start - (span.overlap > 1), span.start + span.overlap)


def find_joins(film: Sequence[Seen]) -> list[Join]:
    """Return all joins of a film; cuts between shots are none."""
    others = np.concatenate([seen.values[seen.free] for seen in film]) if film else np.zeros(0)
    reason = f"only {len(others)} differences outside of joins, {LEAST} are needed" if len(others) < LEAST else ""
    limit = None if reason else float(np.percentile(others, LIMIT))
    return [
        _join(seen, number, span, others, limit, reason)
        for seen in film
        for number, span in enumerate(seen.spans[1:], start=1)
        if len(seen.values[steps_of(span)])
    ]


def judge(joins: Sequence[Join]) -> Verdict:
    """Return whether the joins of one film jump more often than the film does elsewhere.

    The share of steps above the n-th largest of m others, all being alike and independent (neighbours are not quite),
    follows a beta distribution, and their number a beta-binomial one. Source: order statistics of uniform variables.
    """
    judged = [join for join in joins if join.above is not None]
    steps, above = sum(join.steps for join in judged), sum(join.above or 0 for join in judged)
    chance = None
    if judged:
        others = judged[0].others
        larger = others - 1 - int((others - 1) * LIMIT / 100)
        chance = float(betabinom.sf(above - 1, steps, larger + 1, others - larger))
    return Verdict(len(joins), sum(bool(join.above) for join in judged), steps, above, chance)


def _join(
    seen: Seen, number: int, span: Span, others: Float[np.ndarray, " n"], limit: float | None, reason: str
) -> Join:
    place = steps_of(span)
    here = seen.values[place]
    reach = round(AROUND * seen.fps)
    near = slice(max(0, place.start - reach), place.stop + reach)
    around = seen.values[near][seen.free[near]]
    return Join(
        shot=seen.shot,
        window=number,
        time=seen.start + (span.start + span.overlap) / seen.fps,
        steps=len(here),
        difference=float(here.max()),
        around=float(np.median(around)) if len(around) else None,
        others=len(others),
        limit=limit,
        percentile=None if limit is None else float(100 * (others <= here.max()).mean()),
        above=None if limit is None else int((here > limit).sum()),
        reason=reason,
    )
