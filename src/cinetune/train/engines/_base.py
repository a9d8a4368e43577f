"""What the engines share: rates, one clipping, the state by parameter name, numbers from all ranks."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from cinetune.errors import RunError
from cinetune.train.engines._contract import MakeOptimiser, Ranks, State

T = TypeVar("T")


class Base:
    """An engine whose optimiser updates the network's own parameters; sharding changes `_whole` and `_part`."""

    name: str
    lockstep = False

    def __init__(self, ranks: Ranks, device: torch.device) -> None:
        """Take this process's place and device; the process group is opened after this."""
        self.ranks, self.device = ranks, device
        self._weights: dict[str, nn.Parameter] = {}
        self._optimiser: torch.optim.Optimizer

    def prepare(self, network: nn.Module, make_optimiser: MakeOptimiser) -> nn.Module:
        """Make the optimiser; the network is left as it is."""
        self._optimiser = make_optimiser(network)
        self._weights = trainable(network)
        return network

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add this part's gradient."""
        torch.autograd.backward(loss)

    def step(self, clip_norm: float, rates: Mapping[str, float] | float) -> float:
        """Clip, update, clear; return the norm before clipping.

        Raises:
            RunError: the gradient is not finite; no weight was changed.
        """
        set_rates(self._optimiser, rates)
        grads = {name: weight.grad for name, weight in self._weights.items() if weight.grad is not None}
        total = nn.utils.get_total_norm(grads.values())
        norm = float(self._whole(total))
        if not math.isfinite(norm):
            here = [name for name, grad in grads.items() if not _finite(grad)]
            raise not_finite(norm, (name for names in self._everyone(here) for name in names))
        nn.utils.clip_grads_with_norm_(self._weights.values(), clip_norm, total)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return norm

    def state(self) -> State | None:
        """Return everything trained, on the main rank; None on others. Collective."""
        kept = self._optimiser.state
        state = State(
            {name: self._whole(weight).float() for name, weight in self._weights.items()},
            {
                name: {k: self._whole(v) if isinstance(v, Tensor) else v for k, v in kept.get(weight, {}).items()}
                for name, weight in self._weights.items()
            },
        )
        return state if self.ranks.main else None

    def load_state(self, state: State) -> None:
        """Put a state that any engine gave into network and optimiser.

        Raises:
            RunError: it is of other weights.
        """
        check_fit(self._weights, state)
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(self._part(state.weights[name], weight))
        packed = self._optimiser.state_dict()  # its groups are the recipe's; only what is kept for each weight changes
        order = [id(weight) for group in self._optimiser.param_groups for weight in group["params"]]
        packed["state"] = {
            order.index(id(weight)): {
                k: self._part(v, weight) if isinstance(v, Tensor) else v for k, v in state.optimiser[name].items()
            }
            for name, weight in self._weights.items()
            if state.optimiser[name]
        }
        self._optimiser.load_state_dict(packed)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over the data ranks, in their order, on every rank, on the CPU. Collective."""
        return torch.stack(self.gather(values.detach().cpu())).sum(dim=0)

    def gather(self, value: T) -> list[T]:
        """Return every data rank's value, in order, on every rank. Collective."""
        return self._everyone(value)[:: self.ranks.context_parallel]

    def close(self) -> None:
        """Leave the process group."""
        if distributed.is_initialized():
            distributed.destroy_process_group()

    def _everyone(self, value: T) -> list[T]:
        if self.ranks.world == 1:
            return [value]
        everything = [value] * self.ranks.world
        distributed.all_gather_object(everything, value)
        return everything

    def _whole(self, tensor: Tensor) -> Tensor:
        """Return a whole copy on the CPU. Collective where tensors are sharded."""
        return tensor.detach().to("cpu", copy=True)

    def _part(self, tensor: Tensor, weight: nn.Parameter) -> Tensor:
        """Return a copy of what this rank keeps of a tensor that belongs to a weight."""
        return tensor.clone()


def trainable(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return what is trained, by name."""
    return {name: weight for name, weight in network.named_parameters() if weight.requires_grad}


def agree(network: nn.Module) -> None:
    """Give every rank the main rank's trainable weights: what starts them may differ in the last digit. Collective."""
    for weight in trainable(network).values():
        distributed.broadcast(weight.data, src=0)


def set_rates(optimiser: Any, rates: Mapping[str, float] | float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimiser.param_groups:
        group["lr"] = rates[group["name"]] if isinstance(rates, Mapping) else rates


def check_fit(weights: Mapping[str, nn.Parameter], state: State) -> None:
    """Raise RunError unless the state is of just these weights, name by name and size by size."""
    other = set(weights) ^ set(state.weights)
    if other:
        raise RunError(f"the checkpoint is of other weights (one differs in {sorted(other)[0]}): of another model, or "
                       "of other targets; train from the start in another run")  # fmt: skip
    for name, weight in weights.items():
        size, own = tuple(state.weights[name].shape), tuple(getattr(weight, "ds_shape", weight.shape))
        if size != own:
            raise RunError(f"the checkpoint is of another model: {name} is {size} there and {own} here; train from the "
                           "start in another run")  # fmt: skip


def not_finite(norm: float, names: Iterable[str] = ()) -> RunError:
    """Return the error of a gradient that is infinite or no number."""
    bad = list(dict.fromkeys(names))
    where = f" in {bad[0]}" + f" and {len(bad) - 1} more weights" * (len(bad) > 1) if bad else ""
    return RunError(f"train: the gradient is not finite (norm {norm}{where}); lower train.learning_rate")


def _finite(grad: Tensor) -> bool:
    local: Any = grad
    return bool((local.to_local() if hasattr(local, "to_local") else local).isfinite().all())
