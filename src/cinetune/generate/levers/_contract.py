"""What a lever must provide. One file in this folder is one lever; it holds one object called `LEVER`.

A lever changes how windows are made, never what is asked for. Each says by its own word what it does to the numbers,
and `cinetune bench generate` measures it against `exact`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

import torch

from cinetune.errors import RecipeError
from cinetune.generate.network import Trained
from cinetune.generate.window import Rig


class Order(IntEnum):
    """When a lever is applied. Each wants those before it done: an adapter is in before weights are rounded, blocks are
    compiled before anything is hooked onto them, and caches are in before processes share the tokens."""

    WEIGHTS = 10
    ATTENTION = 20
    COMPILE = 30
    CACHE = 40
    PARALLEL = 50
    """Not a lever's: here the processes share the work (`parallel`)."""
    SAMPLING = 60
    DECODE = 70


@dataclass
class Opening:
    """What is loaded, and how, before there is a rig."""

    trained: list[Trained]
    device: torch.device
    """Where the network works."""
    place: torch.device
    """Where it is loaded: main memory where the device would not hold it before a lever has made it smaller."""
    merge: bool = False
    """Add adapters into the weights."""


def _nothing_opened(opening: Opening, value: str) -> None:
    """Leave everything as it is."""


def _nothing_applied(rig: Rig, value: str) -> str:
    """Leave everything as it is."""
    return ""


def _no_obstacle(rig: Rig, value: str) -> str:
    """Return that nothing is in the way."""
    return ""


def without_gpu(rig: Rig, value: str) -> str:
    """Return that a GPU is missing, where it is: the `idle` of levers that only bring something there."""
    return "" if rig.device.type == "cuda" else "nothing to gain without a GPU"


def number(name: str, value: str, low: float, high: float) -> float:
    """Return the number that a value gives.

    Raises:
        RecipeError: it gives none, or one that is not in low..high.
    """
    try:
        given = float(value)
    except ValueError:
        given = math.nan
    if not low <= given <= high:
        raise RecipeError(f"--lever {name}={value}: give a number from {low:g} to {high:g}")
    return given


@dataclass(frozen=True, kw_only=True)
class Lever:
    """One way of being faster or smaller."""

    name: str
    does: str
    """One sentence for the documentation and `--help`."""
    changes: Literal["nothing", "rounding", "content"]
    """Against `exact`: no bit; the last digits, as another order of sums does; or what is seen."""
    order: Order
    source: str
    """Paper, or repository and path."""
    value: str = ""
    """What it is set to where the user says nothing; "" where there is nothing to set, or where the user must say."""
    means: str = ""
    """What a value is: unit and range; "" where there is nothing to set."""
    open: Callable[[Opening, str], None] = _nothing_opened
    """Before loading. Raises RecipeError for a value out of range."""
    obstacle: Callable[[Rig, str], str] = _no_obstacle
    """Why it cannot be used here ("no C++ compiler is on the path"), or "". A preset then does without it and says so;
    asked for by name it is an error."""
    idle: Callable[[Rig, str], str] = _no_obstacle
    """Why it would bring nothing here, or "". A preset then does without it and says so; asked for by name it is
    applied all the same."""
    clashes: Mapping[str, str] = field(default_factory=dict)
    """Levers that it does not go together with, and why. Said by one of the two."""
    apply: Callable[[Rig, str], str] = _nothing_applied
    """Change the rig; return what is worth saying of what was chosen, or ""."""
    told: Callable[[str], str] = str
    """What of a value makes other numbers: a file's content in the place of its path."""
