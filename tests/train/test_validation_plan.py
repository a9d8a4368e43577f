"""When validations are paid for: on a clock that the test owns."""

import json

import pytest

from cinetune.recipe import Validation
from cinetune.train.plan import FIRST, MOST, Planner

AUTO = Validation(every="auto")


class Clock:
    """A training whose steps and validations take what the test says."""

    def __init__(self, steps: int, step_s: float, validation_s: float, settings: Validation = AUTO) -> None:
        self.steps, self.step_s, self.validation_s = steps, step_s, validation_s
        self.said: list[str] = []
        self.planner = Planner(settings, steps, lambda n: n, self.said.append)
        self.planner.paid(1.2 * validation_s, validation_s)  # the baselines cost a little more
        self.strict = True
        self.trained, self.spent, self.at = 0.0, 1.2 * validation_s, list[int]()

    def run(self, start: int, end: int) -> None:
        for step in range(start, end + 1):
            self.planner.stepped(self.step_s)
            self.trained += self.step_s
            if self.planner.due(step):
                self.at.append(step)
                self.spent += self.validation_s
                if step < self.steps and self.strict:
                    assert self.spent <= self.planner.settings.budget * self.trained * (1 + 1e-9), step
                self.planner.paid(self.validation_s, self.validation_s)
                self.planner.plan(step)


@pytest.mark.parametrize("budget", [0.02, 0.1, 0.5])
@pytest.mark.parametrize(("step_s", "validation_s"), [(1.0, 10.0), (10.0, 140.0), (0.01, 3.0), (5.0, 0.1)])
def test_never_more_than_the_budget_but_for_the_last_step(step_s: float, validation_s: float, budget: float) -> None:
    clock = Clock(4000, step_s, validation_s, Validation(every="auto", budget=budget))
    clock.run(1, 4000)
    assert clock.at[-1] == 4000
    assert len(clock.at) <= MOST + 1
    assert clock.spent <= max(budget * clock.trained, 1.2 * validation_s) + validation_s * (1 + 1e-9)
    allowed = budget * clock.trained / validation_s
    assert len(clock.at) >= min(allowed - 3, MOST - 1), "it spends what it may"


def test_the_distances_are_even_once_the_baselines_are_paid() -> None:
    clock = Clock(1000, 1.0, 8.0)
    clock.run(1, 1000)
    assert clock.at[0] == 176, "2.2 validations at 80 steps each"
    assert {b - a for a, b in zip(clock.at[:-2], clock.at[1:-1], strict=True)} == {80}
    assert len(clock.said) == 1
    assert "a step takes 1 s and a validation 8 s; every 80 steps, next at 176; at most 10 %" in clock.said[0]


def test_a_slower_machine_is_planned_for_again_and_said_once() -> None:
    clock = Clock(4000, 1.0, 20.0)
    clock.run(1, 1000)
    before = list(clock.at)
    clock.validation_s, clock.strict = 60.0, False  # nobody could know of the first one
    clock.run(1001, 1999)
    clock.strict = True
    clock.run(2000, 3999)
    assert clock.at[-1] - clock.at[-2] == 600
    assert before[-1] - before[-2] == 200
    assert len(clock.said) == 2


def test_one_slow_first_step_does_not_decide() -> None:
    clock = Clock(1000, 60.0, 8.0)
    clock.run(1, 1)
    clock.step_s = 1.0
    clock.run(2, 1000)
    assert "a step takes 1 s" in clock.said[0]


def test_nothing_affordable_is_the_last_step_alone_and_says_so() -> None:
    clock = Clock(50, 1.0, 30.0)
    clock.run(1, 50)
    assert clock.at == [50]
    assert "only at the last step, 50" in clock.said[0]
    short = Clock(FIRST - 1, 1.0, 0.001)
    short.run(1, FIRST - 1)
    assert short.at == [FIRST - 1]


def test_a_restored_plan_has_the_same_next_step_whatever_the_speed_now() -> None:
    clock = Clock(1000, 1.0, 8.0)
    clock.run(1, 300)
    other = Clock(1000, 5.0, 8.0)
    other.planner.load(json.loads(json.dumps(clock.planner.state())))
    planned = clock.planner.account.next
    for step in range(301, planned + 1):
        other.planner.stepped(5.0)
        assert other.planner.due(step) == (step == planned)


def test_processes_agree_on_the_latest() -> None:
    """Two clocks, each told what the other chose: the largest counts for both."""
    chosen: list[int] = []
    for pace in (1.0, 2.0):
        mine: list[int] = []
        planner = Planner(AUTO, 4000, lambda n, mine=mine: mine.append(n) or max(n, 500), lambda _: None)  # type: ignore[misc]
        planner.paid(20.0, 20.0)
        for step in range(1, FIRST + 1):
            planner.stepped(pace)
            planner.due(step)
        chosen.append(planner.account.next)
        assert mine[0] < 500
    assert chosen == [FIRST + 500, FIRST + 500]


def test_an_integer_is_an_integer_and_asks_nobody() -> None:
    def never(_: object) -> int:
        raise AssertionError("no plan is needed")

    planner = Planner(Validation(every=7), 20, never, never)
    planner.paid(1e9, 1e9)
    for step in range(1, 21):
        planner.stepped(1.0)
        planner.plan(step)
    assert [step for step in range(1, 21) if planner.due(step)] == [7, 14, 20]
    assert planner.state() == {}
