"""What is drawn for a step is the same on any number of processes, and at any time."""

import pytest
import torch

from cinetune.errors import RecipeError
from cinetune.models._wan import WanModel
from cinetune.records import Clip, read_records
from cinetune.train.batches import Batch, Batches
from cinetune.train.data import Cached, load_split
from cinetune.train.engines._contract import Ranks
from tiny_run import prepare_tiny, tiny_recipe

NETWORK = torch.nn.Identity()


@pytest.fixture(scope="module")
def data(tiny: WanModel, tmp_path_factory: pytest.TempPathFactory) -> Cached:
    run = prepare_tiny(tmp_path_factory.mktemp("batches") / "run", tiny, tiny_recipe(tiny))
    return load_split(run / "footage", read_records(run / "footage" / "clips.jsonl", Clip), "train")


def rows(batch: Batch) -> list[tuple[torch.Tensor, ...]]:
    """A batch as one tuple of tensors a clip."""
    told = batch.condition
    columns = (batch.latents, batch.noise, batch.sigma, told.first, told.image)
    texts = [text[:length] for text, length in zip(told.text, told.text_length, strict=True)]
    return [(*row, text) for *row, text in zip(*columns, texts, strict=True)]


@pytest.mark.parametrize("ranks", [(1, 1), (2, 1), (3, 1), (6, 1), (12, 1), (4, 2), (6, 3)])
def test_a_step_is_the_same_clips_noise_and_dropouts_on_any_number_of_ranks(
    tiny: WanModel, data: Cached, ranks: tuple[int, int]
) -> None:
    recipe = tiny_recipe(tiny, train__batch="3", train__accumulation="4", train__caption_dropout="0.5")
    world, parallel = ranks
    alone = Batches(data, recipe, NETWORK, Ranks())
    assert (alone.parts, alone.clips) == (4, 12)
    for step in (0, 1, 7):
        whole = [row for part in range(alone.parts) for row in rows(alone(step * alone.parts + part))]
        split = []
        for rank in range(0, world, parallel):
            own = Batches(data, recipe, NETWORK, Ranks(rank, world, parallel))
            beside = Batches(data, recipe, NETWORK, Ranks(rank + parallel - 1, world, parallel))
            for part in range(own.parts):
                split += rows(own(step * own.parts + part))
                assert beside(step * own.parts + part).noise.equal(own(step * own.parts + part).noise)
            assert own.levels(step) == [row[2].item() for row in whole]
        assert len(whole) == len(split) == 12
        for ours, theirs in zip(split, whole, strict=True):
            assert all(a.equal(b) for a, b in zip(ours, theirs, strict=True))


def test_nothing_is_taken_from_the_global_generator_and_seeds_and_places_differ(tiny: WanModel, data: Cached) -> None:
    recipe = tiny_recipe(tiny)
    batches = Batches(data, recipe, NETWORK, Ranks())
    torch.manual_seed(1)
    before, first = torch.get_rng_state(), batches(3)
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(2)
    assert batches(3).noise.equal(first.noise)
    other = Batches(data, tiny_recipe(tiny, seed="1"), NETWORK, Ranks())
    noise = torch.cat([batches(n).noise for n in range(4)] + [other(n).noise for n in range(4)]).flatten(1)
    assert torch.corrcoef(noise).fill_diagonal_(0).abs().max() < 0.2
    assert noise.std().item() == pytest.approx(1, abs=0.02)


def test_ranks_that_cannot_share_a_step_are_one_line(tiny: WanModel, data: Cached) -> None:
    with pytest.raises(RecipeError, match="4 clips a step, which 3 data ranks cannot share evenly; start a number"):
        Batches(data, tiny_recipe(tiny), NETWORK, Ranks(0, 3))
