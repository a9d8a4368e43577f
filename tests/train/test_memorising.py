"""Two signs of learning by heart, and what is none."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from cinetune.train.memorising import Watch, gap_grew, nearer
from cinetune.train.readings import Baselines, Reading

CLIPS, LEVELS = 8, 9


def losses(mean: float, seed: int, noise: float = 0.002) -> list[list[float]]:
    """Of clips that differ much; the same seed is the same clips."""
    clips = np.random.default_rng(7).normal(0, 0.05, (CLIPS, LEVELS))
    return np.asarray(mean + clips + np.random.default_rng(seed).normal(0, noise, (CLIPS, LEVELS))).tolist()


def cosines(mean: float, seed: int) -> list[float | None]:
    clips = np.random.default_rng(8).normal(0, 0.05, CLIPS)
    return np.asarray(mean + clips + np.random.default_rng(seed).normal(0, 0.003, CLIPS)).tolist()


def reading(held_out: float, training: float, nearest: float, seed: int = 0) -> Reading:
    return Reading([0.3] * CLIPS, 0.2, 0.4, losses(held_out, seed), losses(training, seed + 50), cosines(nearest, seed))


BASE = Baselines("lpips", "lower", [0.5] * LEVELS, reading(0.4, 0.4, 0.80), [0.5] * CLIPS, cosines(0.85, 1))


def follow(readings: list[Reading], base: Baselines = BASE) -> list[str]:
    """Through JSON after each."""
    watch, said = Watch(), []
    for step, one in enumerate(readings, start=1):
        said.append(watch.take(100 * step, one, base))
        watch = Watch(**json.loads(json.dumps(asdict(watch))))
    return said


def test_a_growing_gap_is_said_when_it_shows_twice() -> None:
    fall = [reading(0.38 - 0.02 * n, 0.38 - 0.02 * n, 0.82, n) for n in range(3)]
    rise = [reading(0.34 + 0.02 * n, 0.34 - 0.02 * n, 0.82, n) for n in range(1, 4)]
    said = follow(fall + rise)
    assert [bool(one) for one in said] == [False, False, False, False, True, True]
    assert said[-1] == (
        "memorising: since step 300 the loss of held-out clips has risen while that of training clips fell"
    )


@pytest.mark.parametrize(("held_out", "training"), [
    (-0.02, -0.02), (-0.005, -0.03), (0.02, 0.02), (0.0, -0.02), (0.02, 0.0),
])  # fmt: skip
def test_a_loss_that_only_one_side_shows_is_no_memorising(held_out: float, training: float) -> None:
    """Not a gap that grows while both fall, nor a rise of both, nor one alone."""
    said = follow([reading(0.38 + held_out * n, 0.38 + training * n, 0.82, 0) for n in range(6)])
    assert not any(said)


def test_a_gap_needs_more_than_noise_and_more_than_one_clip() -> None:
    before, after = losses(0.3, 1), losses(0.3005, 2, noise=0.02)
    assert not gap_grew(after, before, losses(0.2, 3), losses(0.3, 4))
    assert gap_grew(losses(0.31, 2), before, losses(0.2, 3), losses(0.3, 4))
    assert not gap_grew(losses(0.31, 2)[:1], before[:1], losses(0.2, 3)[:1], losses(0.3, 4)[:1])
    assert not gap_grew(losses(0.31, 2), before, [], [])


def test_samples_nearer_than_real_clips_and_than_the_base_are_copies() -> None:
    assert nearer(cosines(0.9, 3), cosines(0.85, 1), cosines(0.80, 2))
    assert not nearer(cosines(0.84, 3), cosines(0.85, 1), cosines(0.80, 2)), "nearer to the film, as it should be"
    assert not nearer(cosines(0.9, 3), cosines(0.85, 1), cosines(0.9, 2)), "the base's samples were as near"
    assert not nearer([], [], [])
    said = follow([reading(0.3, 0.3, near, n) for n, near in enumerate([0.84, 0.9, 0.84, 0.9, 0.91])])
    assert [bool(one) for one in said] == [False, False, False, False, True]
    sampled, real = (np.mean([x for x in values if x is not None]) for values in (cosines(0.91, 4), cosines(0.85, 1)))
    assert said[-1] == (
        f"memorising: sampled videos are nearer to training clips (cosine {sampled:.3f}) than the real continuations "
        f"are ({real:.3f})"
    )


def test_without_a_search_only_the_gap_is_watched() -> None:
    bare: dict[str, Any] = {"nearest": []}
    base = Baselines(**{**vars(BASE), "base": Reading(**{**vars(BASE.base), **bare}), "real": []})
    readings = [Reading(**{**vars(reading(0.34 + 0.02 * n, 0.34 - 0.02 * n, 0.9, n)), **bare}) for n in range(4)]
    assert [bool(one) for one in follow(readings, base)] == [False, False, True, True]
