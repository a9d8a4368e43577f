"""When the next validation is: every so many steps, or as soon as it has been paid for.

`validation.every = "auto"` keeps an account. Training steps earn `budget` of the time they take; baselines and
validations spend. The next validation is planned for the step at which what was spent, and one more, has been earned.
It is planned once after a few steps and again after each validation, so it follows a machine that becomes slower or
faster. The last step has a validation in any case, which may exceed the budget by one.
"""

import math
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from cinetune.recipe import Validation

FIRST = 5
"""Steps that are timed before the first plan."""
RECENT = 20
"""Steps whose median is the pace: the first one compiles, one may write a checkpoint."""
MOST = 20
"""Validations of a whole training: with more of them, patience would be a matter of a few steps."""
MUCH = 1.5
"""Change of the distance between two validations that is said again."""


@dataclass
class Account:
    """What a checkpoint keeps of the plan, s and steps."""

    next: int = 0
    """Step of the next validation; 0 before the first plan."""
    trained: float = 0.0
    """Of all steps."""
    spent: float = 0.0
    """On baselines and validations."""
    each: float = 0.0
    """What the last validation cost."""
    recent: list[float] = field(default_factory=list)
    """Of the last steps."""
    said: int = 0
    """Steps between two validations as said last."""


class Planner:
    """Tells at which steps to validate. Without "auto" it has no state and looks at no clock."""

    def __init__(
        self, settings: Validation, steps: int, agree: Callable[[int], int], note: Callable[[str], None]
    ) -> None:
        """Take section `validation`, the number of steps in all, and the functions that `Stopper` describes."""
        self.settings, self.steps, self.agree, self.note = settings, steps, agree, note
        self.account = Account()

    def paid(self, seconds: float, each: float) -> None:
        """Enter what was spent, and what one validation costs."""
        self.account.spent += seconds
        self.account.each = each

    def stepped(self, seconds: float) -> None:
        """Enter a training step; 0 where it was not timed."""
        self.account.trained += seconds
        if seconds > 0:
            self.account.recent = [*self.account.recent, seconds][-RECENT:]

    def due(self, step: int) -> bool:
        """Say whether step `step` (from 1) is followed by a validation."""
        if self.settings.every != "auto":
            return step == self.steps or step % self.settings.every == 0
        if step >= FIRST and not self.account.next:
            self.plan(step)
        return step in (self.account.next, self.steps)

    def plan(self, step: int) -> None:
        """Choose the next validation, after `step`; says so where it is new or much changed. Collective."""
        if self.settings.every != "auto":
            return
        account = self.account
        pace = statistics.median(account.recent) if account.recent else 1.0
        earns = self.settings.budget * pace
        least = math.ceil(self.steps / MOST)
        owed = account.spent + account.each - self.settings.budget * account.trained
        account.next = step + self.agree(max(least, _up(owed / earns)))
        apart = self.agree(max(least, _up(account.each / earns)))
        if account.said and 1 / MUCH <= apart / account.said <= MUCH:
            return
        account.said = apart
        share = f"{100 * self.settings.budget:g} %"
        when = f"every {apart} steps, next at {account.next}"
        if account.next >= self.steps:
            when = f"only at the last step, {self.steps}: {share} would allow the next at step {account.next}"
        self.note(
            f"validation.every = auto: a step takes {pace:.2g} s and a validation {account.each:.2g} s; {when}; "
            f"at most {share} of the training time"
        )

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: nothing where every so many steps was asked for."""
        return asdict(self.account) if self.settings.every == "auto" else {}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.account = Account(**state)


def _up(number: float) -> int:
    """The next whole number, where sums of seconds are not exact."""
    return math.ceil(number - 1e-6)
