"""When to stop: on the plateau of the validation metric, told from noise by what happens to each clip.

A validation and those before it have the same clips and the same noise, so they are compared clip by clip: what is
easy or hard about a clip drops out, and the noise that is left is that of the paired differences.

Two questions are kept apart. Which adapter is kept: the one with the best mean, by however little, so that nothing
better is ever thrown away. Whether to go on: while there are clear gains, over the best at the last clear gain rather
than over the best of all, so that a slow fall adds up until it is clear.

Clips of one scene count as independent here; it steers training. The claim about the result is the evaluation's, on
clips that decided nothing.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from cinetune import console
from cinetune.recipe import Validation
from cinetune.train.memorising import Watch
from cinetune.train.paired import Values, differences, mean, mean_interval
from cinetune.train.plan import Planner
from cinetune.train.readings import Baselines, Decision, Reading


class Verdict(NamedTuple):
    """What training was worth on the validation clips."""

    gain: bool
    """Whether the interval lies on the better side of zero."""
    difference: float | None
    """Kept adapter minus base, paired, in the unit of the metric; None without a clip that has both."""
    low: float | None
    high: float | None
    """Its interval; None from fewer than two clips. The step was chosen on these clips, which flatters it a little."""
    level: float
    metric: str
    clips: int

    def __str__(self) -> str:
        """Return one line, such as "gain: lpips -0.0412 [-0.0611, -0.0213] against the base (8 validation clips)"."""
        word = "gain" if self.gain else "no gain"
        if self.difference is None:
            return f"{word}: no validation clip has {self.metric} for both the kept adapter and the base"
        ends = "no interval" if self.low is None else f"[{self.low:+.4f}, {self.high:+.4f}]"
        return f"{word}: {self.metric} {self.difference:+.4f} {ends} against the base ({self.clips} validation clips)"


@dataclass
class Plateau:
    """The rule; these fields and nothing else are its state."""

    best_step: int = 0
    best: list[float | None] = field(default_factory=list)
    """Of each clip, at the best step."""
    mark: list[float | None] = field(default_factory=list)
    """What a clear gain must be over: the best at the time of the last one."""
    waited: int = 0
    """Validations since then."""

    def take(self, step: int, values: Values, settings: Validation, better: Literal["lower", "higher"]) -> Decision:
        """Judge a validation; the first one is the best so far and a clear gain.

        Args:
            values: of the clips, in the same order each time.
            settings: `patience`, `minimum_gain` and `level` decide.
            better: direction of the metric.
        """
        first = not self.best
        over = _gains(values, self.best or values, better)
        best = first or (len(over) > 0 and bool(over.mean() > 0))
        if best:
            self.best_step, self.best = step, list(values)
        gained = first or is_clear(_gains(values, self.mark, better), settings)
        self.waited = 0 if gained else self.waited + 1
        if gained:
            self.mark = self.best
        stop = "plateau" if self.waited >= settings.patience else ""
        return Decision(best, gained, self.waited, settings.patience, stop, "")


class Stopper:
    """When to validate, which adapter to keep, when to stop, and what it was worth: all that validations decide."""

    def __init__(
        self,
        settings: Validation,
        baselines: Baselines,
        *,
        steps: int,
        agree: Callable[[int], int] = lambda number: number,
        note: Callable[[str], None] = console.note,
    ) -> None:
        """Take the baselines, whose cost counts.

        Args:
            settings: section `validation` of the recipe.
            baselines: as `Validator.baselines` returned them, or a checkpoint kept them.
            steps: of the whole training; the last one always validates.
            agree: returns the largest number of all processes, for clocks differ. Collective.
            note: says what was planned; give the other processes one that says nothing.
        """
        self.settings, self.baselines = settings, baselines
        self.plateau, self.watch = Plateau(), Watch()
        self.planner = Planner(settings, steps, agree, note)
        self.planner.paid(baselines.seconds, baselines.base.seconds)
        self.validated: list[int] = []
        """The steps that had a validation."""

    @property
    def best_step(self) -> int:
        """The step whose adapter is kept; 0 before the first validation."""
        return self.plateau.best_step

    def stepped(self, seconds: float) -> None:
        """Tell how long a step took, its data and its checkpoint included, its validation not."""
        self.planner.stepped(seconds)

    def due(self, step: int) -> bool:
        """Say whether this step (from 1) is followed by a validation. Asked once after every step, by all processes."""
        return self.planner.due(step)

    def take(self, step: int, reading: Reading) -> Decision:
        """Judge a validation. By all processes, which have the same reading."""
        self.validated.append(step)
        decision = self.plateau.take(step, reading.values, self.settings, self.baselines.better)
        self.planner.paid(reading.seconds, reading.seconds)
        self.planner.plan(step)
        return decision._replace(memorising=self.watch.take(step, reading, self.baselines))

    def verdict(self, level: float) -> Verdict:
        """Return what the kept adapter is worth against the base, paired over the validation clips.

        Args:
            level: coverage of the interval, 0..1.
        """
        found = differences(self.plateau.best, self.baselines.base.values) if self.plateau.best else np.zeros(0)
        ends, value = mean_interval(found, level), mean(found.tolist())
        gain = ends is not None and (ends.high < 0 if self.baselines.better == "lower" else ends.low > 0)
        low, high = ends if ends else (None, None)
        return Verdict(gain, value, low, high, level, self.baselines.metric, len(found))

    def state(self) -> dict[str, Any]:
        """Return everything the next decision depends on, as what JSON and a checkpoint hold."""
        return {
            "validated": list(self.validated), "plateau": asdict(self.plateau), "watch": asdict(self.watch),
            "planner": self.planner.state(),
        }  # fmt: skip

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.validated = list(state["validated"])
        self.plateau, self.watch = Plateau(**state["plateau"]), Watch(**state["watch"])
        self.planner.load(state["planner"])


def is_clear(gains: Float[np.ndarray, " n"], settings: Validation) -> bool:
    """Say whether the mean gain is more than the least that counts and more than its noise.

    Without an interval (one clip) the least that counts decides alone.
    """
    if not len(gains) or gains.mean() <= settings.minimum_gain:
        return False
    ends = mean_interval(gains, settings.level)
    return ends is None or ends.low > 0


def _gains(values: Values, others: Values, better: Literal["lower", "higher"]) -> Float[np.ndarray, " n"]:
    change = differences(values, others)
    return -change if better == "lower" else change
