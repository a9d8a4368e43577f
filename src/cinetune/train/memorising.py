"""Whether training clips are being learnt by heart. Two signs, each of which must show in two validations in a row.

The gap: since the held-out loss was lowest, the loss of held-out clips has risen and that of training clips has fallen,
at the same noise. The copy: sampled continuations of held-out first frames are nearer to training clips than the real
continuations are, and nearer than the base's samples were. All are paired over the clips; the levels of the two signs
are fixed, for they decide nothing but whether something is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cinetune.ops.statistics import Interval
from cinetune.train.paired import Values, differences, mean, mean_interval
from cinetune.train.readings import Baselines, Reading

LEVEL = 0.95
"""Coverage of the intervals that must exclude zero."""
IN_A_ROW = 2

Losses = Sequence[Sequence[float]]
"""Of each clip, at each noise level."""


@dataclass
class Watch:
    """Follows a training; these fields and nothing else are its state."""

    step: int = 0
    """The step at which the held-out loss was lowest."""
    held_out: list[list[float]] = field(default_factory=list)
    training: list[list[float]] = field(default_factory=list)
    """The losses then."""
    gaps: int = 0
    copies: int = 0
    """Validations in a row that showed the sign."""

    def take(self, step: int, reading: Reading, baselines: Baselines) -> str:
        """Return one sentence on what was seen, or ""."""
        if not self.held_out or reading.loss < np.mean(self.held_out):
            self.step, self.held_out, self.training = step, reading.held_out, reading.training
        grown = gap_grew(reading.held_out, self.held_out, reading.training, self.training)
        self.gaps = self.gaps + 1 if grown else 0
        copied = nearer(reading.nearest, baselines.real, baselines.base.nearest)
        self.copies = self.copies + 1 if copied else 0
        seen = []
        if self.gaps >= IN_A_ROW:
            seen.append(
                f"since step {self.step} the loss of held-out clips has risen while that of training clips fell"
            )
        if self.copies >= IN_A_ROW:
            seen.append(
                f"sampled videos are nearer to training clips (cosine {mean(reading.nearest):.3f}) than the real "
                f"continuations are ({mean(baselines.real):.3f})"
            )
        return f"memorising: {' and '.join(seen)}" if seen else ""


def gap_grew(held_out: Losses, held_out_before: Losses, training: Losses, training_before: Losses) -> bool:
    """Say whether held-out clips clearly lost and training clips clearly won; not known of fewer than two of each."""
    rise, fall = _change(held_out, held_out_before), _change(training, training_before)
    return rise is not None and fall is not None and rise.low > 0 > fall.high


def nearer(sampled: Values, real: Values, base: Values) -> bool:
    """Say whether sampled videos are clearly nearer to training clips than real ones, and than the base's samples."""
    ends = [mean_interval(differences(sampled, other), LEVEL) for other in (real, base)]
    return all(end is not None and end.low > 0 for end in ends)


def _change(now: Losses, before: Losses) -> Interval | None:
    change = [float(np.mean(a) - np.mean(b)) for a, b in zip(now, before, strict=True)]
    return mean_interval(np.array(change), LEVEL)
