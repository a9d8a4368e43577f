"""What ZeRO-2 and ZeRO-3 share: DeepSpeed shards and updates, this file makes it look like any other engine."""

import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cinetune.errors import RunError
from cinetune.speed.processes import hush_torch
from cinetune.train.engines._base import Base, check_fit, not_finite, set_rates, trainable
from cinetune.train.engines._contract import MakeOptimiser, Ranks, State
from cinetune.train.engines._ulysses import refuse_experts, share_tokens


class Zero(Base):
    """DeepSpeed's ZeRO. Each rank keeps the optimiser's state for its part of one flat vector of all weights."""

    stage: int
    lockstep = True

    def __init__(self, ranks: Ranks, device: torch.device) -> None:
        """Take this process's place and device.

        Raises:
            RunError: DeepSpeed is not installed.
        """
        super().__init__(ranks, device)
        self._engine: Any = None
        os.environ.setdefault("DS_ACCELERATOR", device.type)  # its only switch; else it takes a GPU where there is one
        os.environ.setdefault("LOCAL_RANK", str(device.index or 0))
        try:
            import deepspeed
        except ImportError:
            raise RunError(
                f"system.engine = {self.name!r} needs DeepSpeed; pip install 'cinetune[deepspeed]', or choose fsdp2"
            ) from None
        deepspeed.utils.logger.setLevel(logging.ERROR)
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # compiled at first use, and for inference alone
        self._deepspeed = deepspeed

    def prepare(self, network: nn.Module, make_optimiser: MakeOptimiser) -> nn.Module:
        """Split the tokens, where asked for, then hand network and optimiser to DeepSpeed.

        Raises:
            RunError: a network of two experts, or an optimiser that needs each weight by itself.
        """
        refuse_experts(network, self.name)
        hush_torch()
        share_tokens(network, self.ranks, self.device)
        config = {
            "train_micro_batch_size_per_gpu": 1,
            # Its own linear layer rounds bf16 elsewhere than torch does, and stays on for the rest of the process.
            "zero_optimization": {"stage": self.stage, "memory_efficient_linear": False},
            "zero_allow_untested_optimizer": True,
            "gradient_clipping": 1.0,  # overwritten in each step
        }
        optimiser = make_optimiser(network)
        if type(optimiser) not in (torch.optim.AdamW, torch.optim.SGD):
            kind = type(optimiser).__name__.lstrip("_")
            raise RunError(
                f"system.engine = {self.name!r} lines all weights up in one vector, which {kind} cannot update; "
                "set train.optimiser to adamw, or choose ddp"
            )
        self._weights = trainable(network)
        self._engine, self._zero, *_ = self._deepspeed.initialize(model=network, optimizer=optimiser, config=config)
        _call_through(network, self._engine)
        return network

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add this part's gradient, reduced at once as sharding wants it; ZeRO takes the mean over all ranks."""
        self._engine.set_gradient_accumulation_boundary(last)
        self._engine.backward(loss * self.ranks.world)

    def step(self, clip_norm: float, rates: Mapping[str, float] | float) -> float:
        """Clip, update, clear; return the norm before clipping.

        Raises:
            RunError: the gradient is not finite; no weight was changed.
        """
        self._zero.clip_grad = clip_norm
        set_rates(self._zero, rates)
        self._engine.step()
        if not self._engine.was_step_applied():
            raise not_finite(float("nan"))
        return float(self._engine.get_global_grad_norm())

    def state(self) -> State | None:
        """Return everything trained, on the main rank; None on others. Collective."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        self._link()
        kept = {name: dict[str, Any]() for name in self._weights}
        for flat, names in self._flats():
            for key, value in self._zero.optimizer.state.get(flat, {}).items():
                shared = self._whole(value) if isinstance(value, Tensor) and value.shape != flat.shape else value
                for name in names:
                    own = shared is value and isinstance(value, Tensor)
                    full = safe_get_full_optimizer_state(self._weights[name], key) if own else None
                    kept[name][key] = shared if full is None else self._whole(full)
        weights = {name: self._whole(safe_get_full_fp32_param(weight)) for name, weight in self._weights.items()}
        return State(weights, kept) if self.ranks.main else None

    def load_state(self, state: State) -> None:
        """Put a state that any engine gave into network and optimiser.

        Raises:
            RunError: it is of other weights, or some of its weights were updated more often than others.
        """
        check_fit(self._weights, state)
        optimiser = self._zero.optimizer
        optimiser.state.clear()
        for flat, names in self._flats():
            of_all = [_numbers(state.optimiser[name], state.weights[name]) for name in names]
            if any(numbers != of_all[0] for numbers in of_all):
                raise RunError(f"engine {self.name} counts one step for all weights, and the saved state has several; "
                               "go on with ddp or fsdp2")  # fmt: skip
            first, weight = state.optimiser[names[0]], state.weights[names[0]]
            for key, value in first.items():
                per_weight = isinstance(value, Tensor) and value.shape == weight.shape
                fresh = torch.zeros_like(flat, dtype=value.dtype) if per_weight else value
                optimiser.state[flat][key] = fresh.clone() if isinstance(fresh, Tensor) else fresh
        self._link()
        for name, weight in self._weights.items():
            self._put(weight, state.weights[name], None)
            for key, value in state.optimiser[name].items():
                if isinstance(value, Tensor) and value.shape == state.weights[name].shape:
                    self._put(weight, value, key)
        self._spread()

    def close(self) -> None:
        """Leave DeepSpeed and the process group."""
        if self._engine is not None:
            self._engine.destroy()
        super().close()

    def _flats(self) -> Iterator[tuple[Tensor, list[str]]]:
        """Yield the flat vectors that the optimiser sees, each with the names of the weights in it."""
        names = {id(weight): name for name, weight in self._weights.items()}
        for flat, weights in self._groups():
            yield flat, [names[id(weight)] for weight in weights]

    def _groups(self) -> Iterator[tuple[Tensor, list[nn.Parameter]]]:
        raise NotImplementedError

    def _link(self) -> None:
        """Tell DeepSpeed of all optimiser state."""

    def _put(self, weight: nn.Parameter, value: Tensor, key: str | None) -> None:
        """Set this rank's part of a weight, or of what the optimiser keeps for it under `key`."""
        raise NotImplementedError

    def _spread(self) -> None:
        """Bring the weights that the network computes with in line with the parts."""
        raise NotImplementedError


def _numbers(kept: Mapping[str, Any], weight: Tensor) -> dict[str, float]:
    """Return what the optimiser keeps for a weight as a whole, such as its count of steps."""
    return {k: float(v) for k, v in kept.items() if not (isinstance(v, Tensor) and v.shape == weight.shape)}


def _call_through(network: Any, engine: Any) -> None:
    """Make a call of the network a call of DeepSpeed's engine, which prepares the backward pass.

    The engine itself will not do as the network: it has another `config` and other parameter names.
    """
    kind = type(network)
    inside = False

    def call(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        nonlocal inside
        if inside:
            return kind.__call__(self, *args, **kwargs)
        inside = True
        try:
            return engine(*args, **kwargs)
        finally:
            inside = False

    network.__class__ = type(kind.__name__, (kind,), {"__call__": call})
