"""Every rank holds the whole network; gradients are added up once a step.

Not torch's DistributedDataParallel: that hides the network's attributes, and wants every weight to have a gradient
on every rank, which an expert without clips has not.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, distributed, nn

from cinetune.train.engines._base import Base, agree
from cinetune.train.engines._contract import MakeOptimiser
from cinetune.train.engines._ulysses import share_tokens

BUCKET = 2**26
"""Numbers that go round in one message: 256 MiB of fp32."""


class Replicated(Base):
    """Whole weights everywhere, each rank its clips."""

    name = "ddp"

    def prepare(self, network: nn.Module, make_optimiser: MakeOptimiser) -> nn.Module:
        """Split the tokens, where asked for, and make the optimiser."""
        agree(network)
        share_tokens(network, self.ranks, self.device)
        return super().prepare(network, make_optimiser)

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add this part's gradient; after the last part, add up over the ranks."""
        super().backward(loss, last=last)
        if last:
            self._reduce()

    def _reduce(self) -> None:
        weights = list(self._weights.values())
        used = torch.tensor([weight.grad is not None for weight in weights], dtype=torch.int32, device=self.device)
        distributed.all_reduce(used, distributed.ReduceOp.MAX)
        anywhere = [weight for weight, there in zip(weights, used.tolist(), strict=True) if there]
        for bucket in _buckets(anywhere):
            grads = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in bucket]
            flat = torch.cat([grad.flatten() for grad in grads])
            distributed.all_reduce(flat)
            parts = torch.split(flat, [grad.numel() for grad in grads])
            for weight, grad, part in zip(bucket, grads, parts, strict=True):
                weight.grad = grad.copy_(part.view_as(grad))


def _buckets(weights: list[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Yield the weights in runs of one dtype and at most BUCKET numbers."""
    run: list[nn.Parameter] = []
    for weight in weights:
        full = sum(w.numel() for w in run) + weight.numel() > BUCKET
        if run and (full or weight.dtype != run[0].dtype):
            yield run
            run = []
        run.append(weight)
    if run:
        yield run


ENGINE = Replicated
