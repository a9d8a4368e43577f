"""Guidance that ends: the steps before are as without it, those after have no negative prompt."""

import numpy as np
import pytest
import torch

from cinetune.errors import RecipeError
from cinetune.generate.levers.adaptive_guidance import Adaptive
from cinetune.models._wan import WanModel
from lever_studio import CAPTIONS, studio, window, work

STEPS = 8


def test_it_ends_after_the_first_cosine_beyond_the_threshold_and_stays_ended() -> None:
    one, rng = torch.tensor([3.0, 4.0]), Adaptive(scale=5.0, threshold=0.99)
    wanted = []
    for two in ((4.0, 3.0), (3.0, 3.99), (-3.0, 4.0)):  # cosines 0.96, 1, 0.28
        wanted.append(rng.wanted())
        made = rng.combine(one, torch.tensor(two))
        assert torch.allclose(made, torch.tensor(two) + 5 * (one - torch.tensor(two)))
        if not rng.wanted():
            break
    assert wanted == [True, True]


def test_not_a_number_does_not_end_it() -> None:
    rule = Adaptive(scale=2.0, threshold=0.5)
    rule.combine(torch.full((3,), np.nan), torch.ones(3))
    assert rule.wanted()


def test_forward_passes_are_saved_and_the_rule_is_new_for_each_video(tiny: WanModel) -> None:
    passes = {}
    for threshold in ("-1", "1"):
        room = studio(tiny, f"adaptive_guidance={threshold}", guidance=3.0)
        passes[threshold] = work(room, window(), window(seed=8, prompt=CAPTIONS[1]))["passes"]
    assert passes == {"-1": 2 * (STEPS + 1), "1": 2 * 2 * STEPS}
    exact = studio(tiny, guidance=3.0).latents(window())
    assert torch.equal(studio(tiny, "adaptive_guidance=1", guidance=3.0).latents(window()), exact)


def test_with_a_cache(tiny: WanModel) -> None:
    """The negative prompt's memory is left alone when guidance ends, and the prompt's goes on."""
    both = studio(tiny, "adaptive_guidance=-1", "first_block=0.12", guidance=3.0)
    first = both.latents(window())
    both.latents(window(seed=8))
    assert torch.equal(both.latents(window()), first)


def test_without_guidance_it_is_one_line(tiny: WanModel) -> None:
    with pytest.raises(RecipeError, match=r"--lever adaptive_guidance=0.999: guidance is 1: there is none to end"):
        studio(tiny, "adaptive_guidance")
