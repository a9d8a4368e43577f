"""Single steps of training, as train/loop.py does them, in this process."""

from collections.abc import Callable
from itertools import count

import torch
from torch import nn

from cinetune.adapters import lora
from cinetune.models._wan import WanModel
from cinetune.recipe import Recipe
from cinetune.train.batches import Batches
from cinetune.train.data import Cached
from cinetune.train.engines._contract import Ranks
from cinetune.train.engines.single import Single
from cinetune.train.loop import update
from cinetune.train.signals import Asked


def plain_descent(network: nn.Module) -> torch.optim.Optimizer:
    """An optimiser whose change of the weights is rate x gradient."""
    return torch.optim.SGD(lora.parameters(network), lr=1.0)


class Steps:
    """The steps of one network."""

    def __init__(
        self,
        network: nn.Module,
        model: WanModel,
        data: Cached,
        recipe: Recipe,
        make_optimiser: Callable[[nn.Module], torch.optim.Optimizer] = plain_descent,
    ) -> None:
        """Take a network on which it is said what is trained."""
        self.engine, self.model, self.recipe = Single(Ranks(), torch.device("cpu")), model, recipe
        self.network = self.engine.prepare(network, make_optimiser)
        self.batches = Batches(data, recipe, network, Ranks())

    def take(self, step: int, rate: float = 1.0) -> float:
        """Do step `step` (from 0) at a learning rate and return the loss."""
        stream = map(self.batches, count(step * self.batches.parts))
        settings = self.recipe.train
        return update(self.network, self.model, stream, self.batches, settings, self.engine, rate, Asked())[0]
