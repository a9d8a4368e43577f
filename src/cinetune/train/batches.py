"""The micro-batches of this process: which clips, and all that is drawn for them.

Everything about a clip of a step comes from a generator of its own, keyed by the seed and the clip's place in the
endless stream. So there is no state to save, a batch can be made ahead of time, and the same step has the same
clips, noise and noise levels on any number of processes.
"""

import hashlib
from dataclasses import dataclass
from math import prod

import torch
from torch import nn

from cinetune.errors import RecipeError
from cinetune.models._contract import Condition, Latents
from cinetune.ops import flow
from cinetune.recipe import Recipe
from cinetune.train.buckets import step_items
from cinetune.train.data import Cached, collate
from cinetune.train.engines._contract import Ranks
from cinetune.train.levels import draw_levels


@dataclass(frozen=True)
class Batch:
    """A micro-batch, on the CPU."""

    latents: Latents
    noise: Latents
    sigma: flow.Sigma
    condition: Condition


class Batches:
    """The endless sequence of this process's micro-batches; any of them can be made at any time, by any thread."""

    def __init__(self, data: Cached, recipe: Recipe, network: nn.Module, ranks: Ranks) -> None:
        """Split the clips of a step among the data ranks.

        Raises:
            RecipeError: the clips of a step cannot be split evenly.
        """
        self.data, self.recipe, self.network, self.ranks = data, recipe, network, ranks
        self.clips = recipe.train.batch * recipe.train.accumulation
        """Of a step, on all processes."""
        share, rest = divmod(self.clips, ranks.data_world)
        if rest:
            raise RecipeError(
                f"train.batch x train.accumulation is {self.clips} clips a step, which {ranks.data_world} data ranks "
                f"cannot share evenly; start a number of processes that divides {self.clips}"
            )
        size = max(n for n in range(1, recipe.train.batch + 1) if share % n == 0)
        self.parts = share // size
        """Micro-batches of one step on this process."""
        self._size, self._begin = size, ranks.data_rank * share
        self._shapes = [(clip.frames, clip.height, clip.width) for clip in data.clips]
        known = sorted(set(self._shapes))
        self._sizes = [known.index(shape) for shape in self._shapes]

    def __call__(self, number: int) -> Batch:
        """Return micro-batch `number`, counted from the first of step 1 at 0."""
        step, part = divmod(number, self.parts)
        start = self._begin + part * self._size
        pick = self._pick(step)[start : start + self._size]
        settings, drawn = self.recipe.train, []
        for place in range(start, start + self._size):
            generator = self._generator(step, place)
            drop = torch.rand(2, generator=generator)
            drawn.append((drop, self._level(generator), generator))
        drop = torch.stack([d for d, _, _ in drawn])
        bare, blind = drop[:, 0] < settings.caption_dropout, drop[:, 1] < settings.image_dropout
        latents, condition = collate(self.data, pick, bare, blind)
        noise = torch.stack([torch.randn(latents.shape[1:], generator=generator) for _, _, generator in drawn])
        return Batch(latents, noise, torch.cat([sigma for _, sigma, _ in drawn]), condition)

    def largest(self) -> tuple[int, ...]:
        """Return b c f h w of the latents of the largest micro-batch."""
        number = max(range(len(self._sizes)), key=lambda n: prod(self._shapes[n]))
        return (self._size, *self.data.items[number].latents.shape)

    def levels(self, step: int) -> list[float]:
        """Return the noise levels of all clips of a step (from 0), those of other processes included."""
        levels = []
        for place in range(self.clips):
            generator = self._generator(step, place)
            torch.rand(2, generator=generator)
            levels.append(self._level(generator).item())
        return levels

    def _pick(self, step: int) -> list[int]:
        return step_items(step, self.clips, self._sizes, self.recipe.seed)

    def _level(self, generator: torch.Generator) -> flow.Sigma:
        return draw_levels(self.recipe.train, self.network, self.recipe.lora.experts, 1, generator=generator)

    def _generator(self, step: int, place: int) -> torch.Generator:
        return generator(self.recipe.seed, step * self.clips + place)


def generator(seed: int, position: int) -> torch.Generator:
    """Return the generator of one clip. Hashed, because torch's takes 32 bits of a seed alone."""
    digest = hashlib.sha256(f"{seed} {position}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "little"))
