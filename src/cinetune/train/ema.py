"""A running average of the trained weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor


class Ema:
    """After n updates the weights w_1 .. w_n average to sum (1 - d) d^(n - i) w_i / (1 - d^n).

    The denominator makes the shares add up to 1 from the first update on (Kingma and Ba 2015, arXiv 1412.6980, sec. 3):
    the random start has no part in it. Each process averages what it holds of a weight sharded by FSDP2.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Start an average of the trainable weights of a network as the engine has wrapped it.

        Args:
            decay: d, 0..1 (without 1).
        """
        self._network, self._decay, self._updates = network, decay, 0
        self._weights = {name: w for name, w in network.named_parameters() if w.requires_grad}
        self._average = {name: _local(w).detach().clone() for name, w in self._weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now, after a step."""
        self._updates += 1
        share = (1 - self._decay) / (1 - self._decay**self._updates)
        for name, weight in self._weights.items():
            self._average[name].lerp_(_local(weight), share)

    def weights(self) -> dict[str, Tensor]:
        """Return the averaged weights by parameter name, whole and on the CPU. Collective."""
        return {name: _whole(self._average[name], w) for name, w in self._weights.items()}

    def state(self) -> dict[str, Any]:
        """Return what `load` takes, whole and on the CPU: the same for every engine. Collective."""
        return {"updates": self._updates, "weights": self.weights()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Any]) -> None:
        """Put a state back. Collective; every rank is given the whole.

        Raises:
            KeyError: a weight is missing.
        """
        self._updates = int(state["updates"])
        for name, weight in self._weights.items():
            self._average[name].copy_(_part(state["weights"][name], weight))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average in the place of the weights, to validate; the weights come back, the very same bits."""
        kept = {name: _local(w).detach().clone() for name, w in self._weights.items()}
        self._put(self._average)
        try:
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for module in self._network.modules():
            if isinstance(module, FSDPModule):  # a root keeps its weights gathered after a forward, the old ones
                module.reshard()
        for name, weight in self._weights.items():
            _local(weight).copy_(values[name])


def _local(weight: Tensor) -> Tensor:
    """What this process holds of a weight; shares its memory."""
    return weight.to_local() if isinstance(weight, DTensor) else weight


def _whole(value: Tensor, like: Tensor) -> Tensor:
    if isinstance(like, DTensor):
        value = DTensor.from_local(
            value, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
        ).full_tensor()
    return value.detach().cpu().clone()


def _part(value: Tensor, like: Tensor) -> Tensor:
    """What this process is to hold of a whole value."""
    if not isinstance(like, DTensor):
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None).to_local()
