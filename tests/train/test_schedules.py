import math

import pytest

from cinetune.recipe import Train
from cinetune.train.schedules import SCHEDULES, share


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("steps", "warmup"), [(100, 0.05), (7, 0.3), (1, 0.0), (10, 0.0), (3, 0.9)])
def test_each_warms_up_along_a_line_and_stays_between_zero_and_one(name: str, steps: int, warmup: float) -> None:
    settings = Train(steps=steps, warmup=warmup, schedule=name, decay=min(0.5, 1 - warmup))
    shares = [share(step, settings) for step in range(steps)]
    rising = round(warmup * steps)
    assert shares[:rising] == [(step + 1) / rising for step in range(rising)]
    assert all(0 < value <= 1 for value in shares)
    assert shares[rising:] == sorted(shares[rising:], reverse=True)
    if rising < steps:
        assert shares[rising] == 1


def test_cosine_is_what_it_was() -> None:
    settings = Train(steps=40, warmup=0.1)
    assert settings.schedule == "cosine"
    assert [share(step, settings) for step in (4, 22, 39)] == [
        1.0, 0.5 * (1 + math.cos(math.pi * 18 / 36)), 0.5 * (1 + math.cos(math.pi * 35 / 36)),
    ]  # fmt: skip


def test_wsd_is_flat_and_then_falls_as_one_minus_the_root() -> None:
    settings = Train(steps=100, warmup=0.1, schedule="wsd", decay=0.25)
    assert {share(step, settings) for step in range(9, 76)} == {1.0}
    assert [share(step, settings) for step in (84, 91)] == [1 - math.sqrt(9 / 25), 1 - math.sqrt(16 / 25)]
    assert share(99, settings) == 1 - math.sqrt(24 / 25)
