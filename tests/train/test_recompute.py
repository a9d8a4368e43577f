"""Blocks that keep their activations, blocks computed again, blocks whose weights come and go: the same gradients."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cinetune.errors import RecipeError
from cinetune.models._wan import WanModel
from cinetune.ops.memory import Setup, kept_by_blocks, training_memory
from cinetune.speed.offload import Offloaded, offload_blocks
from cinetune.train.recompute import affordable, checkpoint_blocks
from cinetune.train.work import describe_work
from tiny_step import CPU, EVERYTHING, SHAPE, adapted, step


def blocks(network: nn.Module) -> list[nn.Module]:
    any_network: Any = network
    return list(any_network.blocks)


def test_gradients_are_the_same_bit_for_bit(tiny: WanModel) -> None:
    network = adapted(tiny)
    checkpoint_blocks(network)
    loss, gradients = step(network, tiny)
    for count in (1, len(blocks(network))):
        checkpoint_blocks(network, frozenset(blocks(network)[-count:]))
        again, same = step(network, tiny)
        assert again == loss
        assert all(torch.equal(same[name], gradients[name]) for name in gradients)


def test_only_the_others_are_computed_again(tiny: WanModel) -> None:
    """By torch's own counting of operations, and by the meter's."""
    network, seen = adapted(tiny), []
    checkpoint_blocks(network)
    work = describe_work(network, tiny.facts)
    for count in (0, 2):
        checkpoint_blocks(network, frozenset(blocks(network)[work.sizes.num_layers - count :]))
        # torch counts the products of this kernel and not those of the CPU's fused one
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counted:
            step(network, tiny)
        seen.append((counted.get_total_flops(), replace(work, kept=count).flops(SHAPE)))
    (most, every), (fewer, some) = seen
    assert most - fewer == every.hardware - some.hardware > 0
    assert every.model == some.model


def test_as_many_blocks_as_memory_holds(tiny: WanModel) -> None:
    network = adapted(tiny)
    checkpoint_blocks(network)
    work = describe_work(network, tiny.facts)
    setup = Setup("bf16", work.layers, work.rank)
    terms = training_memory(work.sizes, SHAPE, setup)
    held = sum(terms[name] for name in ("weights", "adapter", "CUDA context"))
    needed = sum(terms.values()) - held
    each = max(kept_by_blocks(work.sizes, SHAPE, setup))
    counts = [
        affordable(work, SHAPE, half=True, free=round((needed + n * each) / 0.9) + 1)
        for n in range(-1, work.sizes.num_layers + 2)
    ]
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[1] >= 1, "what a kept block holds is gone before another is computed again"
    assert counts[-1] == work.sizes.num_layers
    assert affordable(work, SHAPE, half=True, free=round(needed / 0.9), there=False) == 0, "the weights are to come"


class Spoiling(Offloaded):
    """Makes a block's copies useless when they go: whoever still needs them gets nonsense."""

    def go(self, number: int) -> None:
        copies = self.here[number][0] if number in self.here else []
        super().go(number)
        for copy in copies:
            copy.fill_(float("nan") if copy.is_floating_point() else 0)


@pytest.mark.parametrize("which", [slice(None), slice(0, 1), slice(1, None)], ids=["all", "first", "all but the first"])
def test_weights_that_come_and_go(tiny: WanModel, which: slice) -> None:
    network = adapted(tiny, targets=None if which.stop else EVERYTHING)
    checkpoint_blocks(network)
    loss, gradients = step(network, tiny)
    away = Spoiling(blocks(network)[which], CPU)
    checkpoint_blocks(network, offloaded=away)
    for _ in range(2):
        again, same = step(network, tiny)
        assert again == loss
        assert gradients.keys() == same.keys()
        assert all(torch.equal(same[name], gradients[name]) for name in gradients)
        assert not away.here, "everything went"
        for homes in away.homes:
            assert all(tensor.data_ptr() == home.data_ptr() for tensor, home in homes)


def test_weights_come_for_a_forward_pass_without_gradients(tiny: WanModel) -> None:
    network = adapted(tiny)
    checkpoint_blocks(network)
    loss, _ = step(network, tiny)
    away = Spoiling(blocks(network), CPU)
    checkpoint_blocks(network, offloaded=away)
    with torch.no_grad(), pytest.raises(RuntimeError, match="does not require grad"):
        step(network, tiny)  # gets as far as the backward pass
    assert not away.here
    assert step(network, tiny)[0] == loss


def test_more_blocks_than_there_are(tiny: WanModel) -> None:
    network = adapted(tiny)
    with pytest.raises(RecipeError, match=f"the network has {len(blocks(network))} blocks"):
        offload_blocks(network, 99, CPU)


@pytest.mark.gpu
def test_on_a_gpu(tiny: WanModel) -> None:
    """The same bits as with everything on the GPU, and less memory there."""
    device = torch.device("cuda")
    network = adapted(tiny, device=device)
    checkpoint_blocks(network)
    loss, gradients = step(network, tiny)
    before = torch.cuda.memory_allocated(device)
    away = offload_blocks(network, len(blocks(network)), device)
    assert torch.cuda.memory_allocated(device) < before
    assert all(home.is_pinned() for homes in away.homes for _, home in homes)
    checkpoint_blocks(network, offloaded=away)
    for _ in range(3):
        again, same = step(network, tiny)
        assert again == loss
        assert all(torch.equal(same[name], gradients[name]) for name in gradients)
