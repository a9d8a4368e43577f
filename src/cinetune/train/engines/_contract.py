"""What an engine must provide. The loop is the same for all of them.

A step has a fixed number of clips, whatever the number of processes; each data rank takes its part of them. The ranks
of one context-parallel group share the tokens of the same clips, and their losses count once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

MakeOptimiser = Callable[[nn.Module], torch.optim.Optimizer]
"""Given the network as the engine has wrapped it, an optimiser of its trainable weights."""


@dataclass(frozen=True)
class Ranks:
    """Where this process stands."""

    rank: int = 0
    world: int = 1
    """Processes of all."""
    context_parallel: int = 1
    """Processes that share one clip's tokens; neighbouring ranks."""

    @property
    def data_rank(self) -> int:
        """Number of the group whose clips this process works on."""
        return self.rank // self.context_parallel

    @property
    def data_world(self) -> int:
        """Groups that work on different clips."""
        return self.world // self.context_parallel

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0


@dataclass(frozen=True)
class State:
    """All that is trained, whole and on the CPU, the same for every engine and number of processes."""

    weights: Mapping[str, Tensor]
    """Trainable weights by parameter name, fp32."""
    optimiser: Mapping[str, Mapping[str, Any]]
    """What the optimiser keeps for each weight (tensors whole, numbers as they are), by parameter name."""


@runtime_checkable
class Engine(Protocol):
    """One way of sharing the work: a file's `ENGINE`, called with ranks and device by `start_engine`.

    Collective calls are made by all ranks at once. Of the optimisers a sharding engine takes those alone whose update
    of a number depends on this number's own gradients (AdamW, SGD; not Muon, Prodigy or 8-bit ones).
    """

    name: str
    ranks: Ranks
    device: torch.device
    """Of this process."""
    lockstep: bool
    """Weights are put together in the forward pass: all ranks must make the same number of them, in validation too."""

    def prepare(self, network: nn.Module, make_optimiser: MakeOptimiser) -> nn.Module:
        """Wrap or shard a network on which `requires_grad` tells what is trained, and make the optimiser.

        The network keeps its attributes (config, blocks, peft's own), so that the model's `velocity` takes it.
        """
        ...

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add the gradient of this rank's part of the step's mean loss; reduce over the ranks after the last part.

        Args:
            loss: sum over this part's clips of weight x error, over the number of clips of the step in all ranks.
        """
        ...

    def step(self, clip_norm: float, rates: Mapping[str, float] | float) -> float:
        """Clip the whole gradient once, update, clear the gradient; return the norm before clipping.

        A gradient that is None on every rank stays None: the optimiser leaves such weights as they are.

        Args:
            rates: the learning rate of this step, for every parameter group or by the group's "name".
        """
        ...

    def state(self) -> State | None:
        """Return everything trained, on the main rank; None on others. Collective."""
        ...

    def load_state(self, state: State) -> None:
        """Put a state that any engine gave into network and optimiser; every rank is given the whole. Collective."""
        ...

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over the data ranks, on every rank, on the CPU. Collective."""
        ...

    def gather(self, value: Any) -> list[Any]:
        """Return every data rank's value, in order, on every rank. Collective."""
        ...

    def close(self) -> None:
        """Leave the process group."""
        ...
