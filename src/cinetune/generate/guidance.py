"""Classifier-free guidance: u + w (c - u), with c the velocity for the prompt and u for the negative prompt.

Two things can be exchanged: the rule, which says at which steps u is wanted and what becomes of both, and how both are
come by (one after the other here; by two groups of processes in parallel/guidance.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

Answer = Callable[[], Tensor]
"""Does one forward pass."""
Both = Callable[[Answer, Answer], tuple[Tensor, Tensor]]
"""(for the prompt, for the negative prompt) -> their answers."""
Unguided = Callable[[Answer, Answer], Tensor]
"""(for the prompt, for the negative prompt) -> the prompt's answer, where the other is not wanted."""


@runtime_checkable
class Rule(Protocol):
    """How guidance goes on through one video. A new one is made for each."""

    def wanted(self) -> bool:
        """Return whether the next step needs the negative prompt's answer."""
        ...

    def combine(self, prompt: Tensor, negative: Tensor) -> Tensor:
        """Return the guided velocity."""
        ...


@dataclass(frozen=True)
class Plain:
    """The same scale at every step; 1 leaves the second forward pass out."""

    scale: float

    def wanted(self) -> bool:
        """Return whether there is any guidance."""
        return self.scale > 1

    def combine(self, prompt: Tensor, negative: Tensor) -> Tensor:
        """Return u + w (c - u)."""
        return negative + self.scale * (prompt - negative)


def in_turn(prompt: Answer, negative: Answer) -> tuple[Tensor, Tensor]:
    """Do one forward pass after the other."""
    return prompt(), negative()


def prompt_alone(prompt: Answer, negative: Answer) -> Tensor:
    """Do the forward pass that is wanted."""
    return prompt()
