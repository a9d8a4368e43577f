"""The one training loop of the miniature's parts: seeded, exactly resumable, with time left.

A checkpoint holds everything the next step depends on (weights, optimisers, EMA, generator, step), is written
aside and renamed, and is read back on start: killing the process loses at most `SAVE_EVERY` steps.
"""

import copy
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from cinetune.console import note
from cinetune.files import write_aside

SAVE_EVERY = 200

Loss = Callable[[int, torch.Generator], Tensor]
"""(step, generator) -> scalar loss of one batch."""


def fit(
    folder: Path,
    network: nn.Module,
    loss_of: Loss,
    *,
    name: str,
    steps: int,
    optimisers: Sequence[torch.optim.Optimizer],
    seed: int,
    ema: float = 0.0,
    warmup: int = 50,
    decay_from: float = 0.6,
    clip_norm: float = 1.0,
) -> nn.Module:
    """Train `network` in place and return it, or its moving average where `ema` > 0.

    The learning rate rises over `warmup` steps, stays, and falls linearly to zero from `decay_from` x steps.
    """
    path = folder / f"{name}.checkpoint.pt"
    generator = torch.Generator().manual_seed(seed)
    average = copy.deepcopy(network) if ema else network
    peak = [[group["lr"] for group in optimiser.param_groups] for optimiser in optimisers]
    done = 0
    if path.is_file():
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        generator.set_state(state["generator"])
        done = state["step"]

    network.train()
    began, first, running = time.monotonic(), done, 0.0
    for step in range(done, steps):
        # 1. learning rate
        scale = min(1.0, (step + 1) / warmup, (steps - step) / (steps * (1 - decay_from) + 1e-9))
        for optimiser, rates in zip(optimisers, peak, strict=True):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * scale
        # 2. loss and update
        loss = loss_of(step, generator)
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        for optimiser in optimisers:
            optimiser.step()
        # 3. moving average
        if ema:
            with torch.no_grad():
                pace = min(ema, (1 + step) / (10 + step))
                for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
                    slow.lerp_(fast, 1 - pace)
        # 4. say, save
        running = loss.item() if step == first else 0.98 * running + 0.02 * loss.item()
        if (step + 1) % 50 == 0:
            pace_s = (time.monotonic() - began) / (step + 1 - first)
            left = (steps - step - 1) * pace_s / 60
            note(f"{name}: step {step + 1}/{steps}, loss {running:.4f}, {pace_s:.2f} s/step, {left:.0f} min left")
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            state = {
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in optimisers],
                "generator": generator.get_state(),
                "step": step + 1,
            }
            with write_aside(path) as aside:
                torch.save(state, aside)
    return average.eval()
