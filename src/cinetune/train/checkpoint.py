"""Everything the next step depends on, in one file that is whole or absent."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cinetune.adapters import lora
from cinetune.errors import RunError
from cinetune.files import write_aside


@dataclass
class Progress:
    """The loop's named scalars; exactly these are in a checkpoint."""

    step: int = 0
    """Optimiser updates done."""
    position: int = 0
    """Items taken from the endless stream of clips."""
    best: float = float("inf")
    """Lowest validation LPIPS."""
    best_step: int = 0
    since_best: int = 0
    """Validations since the best."""
    seconds: float = 0.0
    """Time trained, over all sessions of the run."""
    stopped: str = ""
    """"", "steps" or "plateau"."""
    baseline: dict[str, float] = field(default_factory=dict)
    """Validation LPIPS of the base and of the first frame held still."""


def save(
    path: Path,
    progress: Progress,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
) -> None:
    """Write a checkpoint."""
    state = {
        "progress": vars(progress),
        "adapter": [w.detach().cpu() for w in lora.parameters(network)],
        "optimiser": optimiser.state_dict(),
        "generator": generator.get_state(),
    }
    with write_aside(path) as aside:
        torch.save(state, aside)


def load(path: Path, network: nn.Module, optimiser: torch.optim.Optimizer, generator: torch.Generator) -> Progress:
    """Put a checkpoint's state into the given objects and return the scalars.

    Raises:
        RunError: damaged, or made by another recipe or version.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        progress = Progress(**state["progress"])
        weights: list[Tensor] = state["adapter"]
        with torch.no_grad():
            for weight, saved in zip(lora.parameters(network), weights, strict=True):
                weight.copy_(saved)
        optimiser.load_state_dict(state["optimiser"])
        generator.set_state(state["generator"])
    except Exception as error:  # torch.load raises many classes for one cause: the file is not what was written
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(f"{path}: damaged checkpoint ({reason}); delete it to train from the start") from None
    return progress
