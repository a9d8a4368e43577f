"""The optimiser of a recipe over the trainable weights of a network, in named groups."""

import contextlib
import importlib
import io
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from cinetune.errors import RecipeError
from cinetune.recipe import Recipe, Train
from cinetune.train.trainable import named_trainable

Group = dict[str, Any]
LIBRARIES = {"adamw8bit": "bitsandbytes", "prodigy": "prodigyopt"}
"""What an optimiser needs beside torch: the extra `optimisers`."""
PRODIGY_KEPT = ("d", "d_max", "d_numerator", "k")
"""What Prodigy keeps for all weights together and the next step depends on."""
MUON_MOMENTUM = 0.95
"""Source: K. Jordan et al. 2024, Muon, https://kellerjordan.github.io/posts/muon; torch's default too."""


def make_optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimiser of the trainable weights of a network as the engine has wrapped it.

    Each group has a "name" and a "scale": its learning rate is `rates(...)[name]`. The groups are "weights", with
    LoRA+ "B" for the B matrices, and with Muon "others" for what is no matrix and goes to AdamW.

    Raises:
        RecipeError: a library is not installed, or the optimiser needs whole weights and an engine has sharded them.
    """
    settings = recipe.train
    groups = list(_groups(network, recipe))
    sharded = any(isinstance(w, DTensor) for group in groups for w in group["params"])
    if settings.optimiser != "adamw" and sharded:
        raise RecipeError(f"train.optimiser = {settings.optimiser!r} needs whole weights; set system.engine to ddp")
    if settings.optimiser == "muon":
        return _Muon(groups, settings)
    if settings.optimiser == "prodigy":
        return _prodigy(groups, settings)
    if settings.optimiser == "adamw8bit":
        library: Any = _library(settings.optimiser)
        made: torch.optim.Optimizer = library.optim.AdamW8bit(
            groups, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay
        )
        return made
    return _adamw(groups, settings)


def rates(recipe: Recipe, share: float) -> dict[str, float]:
    """Return the learning rate of each group that there may be, by its name.

    Args:
        share: of the peak, 0..1 (`schedules.share`).
    """
    return {name: recipe.train.learning_rate * share * scale for name, scale in _scales(recipe).items()}


def _scales(recipe: Recipe) -> dict[str, float]:
    return {"weights": 1.0, "B": recipe.lora.plus_ratio, "others": 1.0}


def _groups(network: nn.Module, recipe: Recipe) -> Iterator[Group]:
    members: dict[str, list[nn.Parameter]] = {"weights": [], "B": [], "others": []}
    for name, weight in named_trainable(network).items():
        group = "B" if recipe.lora.plus_ratio != 1 and ".lora_B." in name else "weights"
        if recipe.train.optimiser == "muon" and weight.ndim != 2:
            group = "others"
        members[group].append(weight)
    for name, weights in members.items():
        if weights:
            scale = _scales(recipe)[name]
            yield {"params": weights, "name": name, "scale": scale, "lr": recipe.train.learning_rate * scale}


def _adamw(groups: list[Group], settings: Train) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        groups, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay
    )


class _Muon(torch.optim.Optimizer):
    """torch's Muon for matrices and AdamW for the others, as one optimiser: one state, one list of groups.

    Muon's step is scaled by 0.2 sqrt(max(rows, columns)), so that its root mean square is that of AdamW's and AdamW's
    learning rate and decay hold (Liu et al. 2025, arXiv 2502.16982, sec. 2.2).
    """

    def __init__(self, groups: list[Group], settings: Train) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise RecipeError(
                f"train.optimiser = 'muon': torch {torch.__version__} has none; install torch 2.9 or later"
            )
        matrices = [group for group in groups if group["name"] != "others"]
        others = [group for group in groups if group["name"] == "others"]
        self._parts: dict[bool, torch.optim.Optimizer] = {}
        if matrices:
            self._parts[False] = torch.optim.Muon(
                matrices, lr=settings.learning_rate, weight_decay=settings.weight_decay, momentum=MUON_MOMENTUM,
                adjust_lr_fn="match_rms_adamw",
            )  # fmt: skip
        if others:
            self._parts[True] = _adamw(others, settings)
        super().__init__([group for part in self._parts.values() for group in part.param_groups], {})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all weights that have a gradient."""
        for other, part in self._parts.items():  # load_state_dict puts new objects in the place of both
            part.state = self.state
            part.param_groups = [group for group in self.param_groups if (group["name"] == "others") == other]
            part.step()


def _prodigy(groups: list[Group], settings: Train) -> torch.optim.Optimizer:
    """Prodigy (Mishchenko and Defazio 2023, arXiv 2306.06101) with what its README advises for diffusion models.

    Its estimate d belongs to no weight. It is written beside the state of each, because what an engine saves and shares
    out is the state by weight, and read from there before each step.
    """
    library: Any = _library("prodigy")
    with contextlib.redirect_stdout(io.StringIO()):  # it tells that weight decay is decoupled
        made: torch.optim.Optimizer = library.Prodigy(
            groups, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay,
            use_bias_correction=True, safeguard_warmup=True,
        )  # fmt: skip

    def before(optimiser: torch.optim.Optimizer, *_: Any) -> None:
        for group in optimiser.param_groups:
            states = (optimiser.state[w] for w in group["params"] if w in optimiser.state)
            group.update({key: state[key] for state in states for key in PRODIGY_KEPT})

    def after(optimiser: torch.optim.Optimizer, *_: Any) -> None:
        for group in optimiser.param_groups:
            for weight in group["params"]:
                if weight in optimiser.state:
                    optimiser.state[weight].update({key: group[key] for key in PRODIGY_KEPT})

    made.register_step_pre_hook(before)
    made.register_step_post_hook(after)
    return made


def _library(optimiser: str) -> Any:
    name = LIBRARIES[optimiser]
    try:
        return importlib.import_module(name)
    except ImportError:
        raise RecipeError(
            f"train.optimiser = {optimiser!r} needs {name}, which is not installed; pip install 'cinetune[optimisers]'"
        ) from None
