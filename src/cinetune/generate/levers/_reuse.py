"""Blocks that are left out at some steps: the change that they made at an earlier step is added again.

A forward pass begins with a decision. Where blocks are run, what the last one gives less what was given to them is
kept; where they are left out, it is added. Prompt and negative prompt remember by themselves (`cache_context`), and
`_reset_stateful_cache` forgets both. This rests on diffusers' hooks, which context parallelism uses too: hooks that are
in before the tokens are shared see one process's share of them.

An engine that puts the weights of a block together around its `forward` (FSDP2) does so for a block that is left out
too. Processes that share weights but no tokens therefore keep step whatever each of them decides.
"""

from collections.abc import Callable
from typing import Any

from diffusers.hooks import HookRegistry, ModelHook
from diffusers.hooks.hooks import BaseState, CacheContext, StateManager
from torch import Tensor, nn

from cinetune.models._velocity import parts

NAME = "cinetune_reuse"
Decide = Callable[[Any, Tensor, CacheContext], tuple[bool, Any]]
"""(what it remembers of this prompt, None at first; the first block's change, or what is given to it; prompt and sigma)
-> (whether to leave the blocks out, what to remember). The first answer of a video is not followed."""


def reuse(network: nn.Module, decide: Decide, *, peek: bool) -> None:
    """Let blocks be left out where `decide` says so.

    Args:
        network: one, or two experts, which remember by themselves.
        decide: called once a forward pass.
        peek: run the first block always, and decide by the change that it makes.
    """
    for part in parts(network):
        any_part: Any = part
        manager, last = StateManager(_State), len(any_part.blocks) - 1
        for n, block in enumerate(any_part.blocks):
            hook = _Hook(manager, decide, peek, first=n == 0, last=n == last)
            HookRegistry.check_if_exists_or_initialize(block).register_hook(hook, NAME)
        HookRegistry.check_if_exists_or_initialize(part).invalidate_child_registries_cache()


class _State(BaseState):  # type: ignore[misc]  # diffusers has no types
    """What is remembered of one prompt."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.memory: Any = None
        self.given: Tensor | None = None
        """What the blocks that may be left out were given; held while they run."""
        self.change: Tensor | None = None
        """What they made of it at the last step at which they ran."""
        self.out = False
        """Whether they are left out in this forward pass."""


class _Hook(ModelHook):  # type: ignore[misc]
    def __init__(self, manager: StateManager, decide: Decide, peek: bool, *, first: bool, last: bool) -> None:
        super().__init__()
        self.manager, self.decide, self.peek, self.first, self.last = manager, decide, peek, first, last
        self._is_stateful = first  # one of them is told the prompt, and to forget

    def new_forward(self, block: nn.Module, hidden: Tensor, *rest: Any) -> Tensor:
        state: _State = self.manager.get_state()
        if self.first:
            done = self.fn_ref.original_forward(hidden, *rest) if self.peek else hidden
            wanted, state.memory = self.decide(
                state.memory, done - hidden if self.peek else hidden, self.manager.context
            )
            state.out = wanted and state.change is not None
            if wanted and state.change is not None:
                return done + state.change
            state.given = done
            if not self.peek:
                done = self.fn_ref.original_forward(hidden, *rest)
        else:
            done = hidden if state.out else self.fn_ref.original_forward(hidden, *rest)
        if self.last and state.given is not None:
            state.change, state.given = done - state.given, None
        return done

    def reset_state(self, block: nn.Module) -> nn.Module:
        self.manager.reset()
        return block
