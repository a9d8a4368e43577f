"""The clips of a step: one size, in proportion, each clip once a pass, from the number of the step alone."""

from collections import Counter

import numpy as np
import pytest
import torch

from cinetune.footage.cache import encode_clip, encode_empty
from cinetune.models._wan import WanModel
from cinetune.train.buckets import step_items
from cinetune.train.data import Cached, Item, collate


def one_stream(position: int, batch: int, count: int, seed: int) -> list[int]:
    """The order of clips of one size, as every run before there were buckets had it."""
    whole: list[int] = []
    for epoch in range((position + batch - 1) // count + 1):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        whole += torch.randperm(count, generator=generator).tolist()
    return whole[position : position + batch]


@pytest.mark.parametrize(("count", "clips"), [(1, 1), (3, 8), (40, 4), (17, 16)])
def test_one_size_is_the_order_without_buckets(count: int, clips: int) -> None:
    for step in (0, 1, 5, 123):
        assert step_items(step, clips, [2] * count, 7) == one_stream(step * clips, clips, count, 7)


@pytest.mark.parametrize("seed", range(40))
def test_the_properties(seed: int) -> None:
    """Over two rounds: one size a step, sizes in proportion at every moment, no clip twice in a pass, all equally."""
    rng = np.random.default_rng(seed)
    sizes, clips = rng.integers(0, 4, rng.integers(1, 25)).tolist(), int(rng.integers(1, 6))
    counts, visits = Counter(sizes), Counter[int]()
    streams: dict[int, list[int]] = {size: [] for size in counts}
    for step in range(2 * len(sizes)):
        items = step_items(step, clips, sizes, seed)
        assert len(items) == clips
        (size,) = {sizes[n] for n in items}
        streams[size] += items
        visits[size] += 1
        for other, count in counts.items():
            assert abs(visits[other] - (step + 1) * count / len(sizes)) <= 0.5 + len(counts) / 2
    for size, stream in streams.items():
        assert set(Counter(stream).values()) == {2 * clips}
        for start in range(0, len(stream), counts[size]):
            assert len(set(stream[start : start + counts[size]])) == counts[size]


def test_another_seed_is_another_order() -> None:
    sizes = [0] * 20 + [1] * 20
    assert [step_items(s, 4, sizes, 1) for s in range(10)] != [step_items(s, 4, sizes, 2) for s in range(10)]


def test_a_single_clip_of_its_size_is_not_forgotten() -> None:
    seen = [step_items(step, 2, [0] * 9 + [1], 0) for step in range(10)]
    assert seen.count([9, 9]) == 1


def test_a_still_picture_goes_through_the_network_as_a_clip_without_its_first_frame_does(tiny: WanModel) -> None:
    """What is cached of a picture is what image dropout makes of any clip: the answer is the same with and without."""
    encoders = tiny.load_encoders(torch.device("cpu"))
    frames = np.random.default_rng(0).integers(0, 256, (1, 32, 48, 3), np.uint8)
    item = Item(**encode_clip(encoders, frames, "a wall"))
    cached = Cached((), (item,), encode_empty(encoders)["text"])
    network = tiny.load_transformer(torch.device("cpu"), torch.float32)
    answers = []
    for dropped in (False, True):
        latents, condition = collate(cached, [0], torch.tensor([False]), torch.tensor([dropped]))
        assert latents.shape[2] == 1
        with torch.no_grad():
            answers.append(tiny.velocity(network, latents, torch.tensor([0.5]), condition))
    assert answers[0].shape == latents.shape
    assert answers[0].isfinite().all()
    torch.testing.assert_close(answers[0], answers[1], rtol=0, atol=0)
