"""Frozen weights of some blocks wait in main memory and are on the GPU only while their block works.

diffusers' group offloading does this for forward passes. It takes a block's weights away when its forward pass ends,
the recomputed one included, and nothing brings them back for the backward pass that follows at once
(diffusers 0.42 hooks/group_offloading.py, GroupOffloadingHook). Here a block's forward and backward are one step of
autograd: the weights come, the block is computed again, its gradients are taken, and the weights go. The next block's
copy runs on a stream of its own meanwhile.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cinetune.errors import RecipeError


class Offloaded:
    """Blocks whose frozen weights come and go, in the order in which they run."""

    def __init__(self, blocks: Sequence[nn.Module], device: torch.device) -> None:
        """Send the weights away; what is trained stays on the device.

        Args:
            blocks: in the order in which they run.
            device: where they work.
        """
        self.blocks, self.device = list(blocks), device
        self.places = {block: number for number, block in enumerate(blocks)}
        self.homes: list[list[tuple[Tensor, Tensor]]] = []
        """Of each block: frozen weights and buffers, and what they are in main memory."""
        self.here: dict[int, tuple[list[Tensor], torch.cuda.Event | None]] = {}
        """By block: its copies on the device, and when they have arrived."""
        self.held: set[int] = set()
        """Blocks in their backward pass, whose own forward pass does not send the weights away."""
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        for block in blocks:
            frozen = [w for w in (*block.parameters(), *block.buffers()) if not w.requires_grad]
            for tensor in frozen:
                home = tensor.data.to("cpu")
                tensor.data = home.pin_memory() if self._stream else home
            self.homes.append([(tensor, tensor.data) for tensor in frozen])
            for weight in block.parameters():
                if weight.requires_grad:
                    weight.data = weight.data.to(device)
            block.register_forward_pre_hook(self._before)
            block.register_forward_hook(self._after, always_call=True)

    def _before(self, block: nn.Module, given: Any) -> None:
        self.come(self.places[block], 1)

    def _after(self, block: nn.Module, given: Any, out: Any) -> None:
        if self.places[block] not in self.held:
            self.go(self.places[block])

    def come(self, number: int, way: int) -> None:
        """Put a block's weights in their places, and start the copy of the next one in that direction."""
        self._fetch(number)
        copies, arrived = self.here[number]
        if arrived is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(arrived)
            for copy in copies:
                copy.record_stream(current)  # so that its memory is not reused while the block works
        for (tensor, _), copy in zip(self.homes[number], copies, strict=True):
            tensor.data = copy
        if self._stream and 0 <= number + way < len(self.blocks):
            self._fetch(number + way)

    def go(self, number: int) -> None:
        """Let a block's copies go."""
        for tensor, home in self.homes[number]:
            tensor.data = home
        self.here.pop(number, None)

    def _fetch(self, number: int) -> None:
        if number in self.here:
            return
        with torch.cuda.stream(self._stream):  # of no effect without a stream
            copies = [home.to(self.device, non_blocking=True, copy=True) for _, home in self.homes[number]]
        self.here[number] = copies, self._stream.record_event() if self._stream else None

    def run(self, block: nn.Module, *given: Any) -> Any:
        """Do a block as checkpointing does: nothing is kept of it but its input."""
        trained = [w for w in block.parameters() if w.requires_grad]
        flat, rebuild = _flat(given)
        return _Block.apply(self, block, rebuild, len(flat), *flat, *trained)  # type: ignore[no-untyped-call]


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, offloaded: Offloaded, block: nn.Module, rebuild: Callable[..., Any], count: int, *tensors: Tensor
    ) -> Tensor:
        ctx.offloaded, ctx.block, ctx.rebuild, ctx.count = offloaded, block, rebuild, count
        ctx.save_for_backward(*tensors)
        with torch.no_grad():
            out: Tensor = block(*rebuild(tensors[:count]))
        return out

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        offloaded, number = ctx.offloaded, ctx.offloaded.places[ctx.block]
        inputs, trained = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
        offloaded.held.add(number)
        offloaded.come(number, -1)
        try:
            with torch.enable_grad():
                again = [t.detach().requires_grad_(t.requires_grad) for t in inputs]
                out = ctx.block(*ctx.rebuild(again))
            wanted = [t for t in (*again, *trained) if t.requires_grad]
            found = iter(torch.autograd.grad(out, wanted, given, allow_unused=True))
        finally:
            offloaded.held.discard(number)
            offloaded.go(number)
        return (None, None, None, None, *(next(found) if t.requires_grad else None for t in (*again, *trained)))


def offload_blocks(network: nn.Module, count: int, device: torch.device) -> Offloaded:
    """Send the frozen weights of `count` blocks to main memory, spread evenly so that copies hide behind other blocks.

    Raises:
        RecipeError: there are fewer blocks.
    """
    any_network: Any = network
    blocks = list(any_network.blocks)
    if count > len(blocks):
        raise RecipeError(f"offload_blocks = {count}: the network has {len(blocks)} blocks")
    return Offloaded([blocks[n * len(blocks) // count] for n in range(count)], device)


def _flat(given: tuple[Any, ...]) -> tuple[list[Tensor], Callable[..., Any]]:
    """The tensors of a block's arguments, which are tensors and tuples of them, and how to put them back."""
    flat: list[Tensor] = []
    form = []
    for value in given:
        many = isinstance(value, tuple)
        flat.extend(value if many else [value])
        form.append(len(value) if many else None)

    def rebuild(tensors: Sequence[Tensor]) -> list[Any]:
        left = iter(tensors)
        return [next(left) if size is None else tuple(next(left) for _ in range(size)) for size in form]

    return flat, rebuild
