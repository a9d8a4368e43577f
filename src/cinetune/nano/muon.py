"""Muon for networks with convolutions: the momentum of every matrix-like weight is orthogonalised.

Source: K. Jordan et al. 2024 (the quintic Newton-Schulz iteration); the update size 0.2 sqrt(max dimension) that
lets one learning rate serve both optimisers is from Liu et al. 2025, "Muon is scalable for LLM training", sec. 2.2.
torch.optim.Muon takes two-dimensional weights only; here a kernel (out, in, ...) is seen as (out, in * ...).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised. Give it weights with two or more dimensions; AdamW takes the rest."""

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Apply one update from the gradients."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                nesterov = weight.grad.lerp(momentum, group["momentum"]).flatten(1)
                update = orthogonalise(nesterov) * (0.2 * max(nesterov.shape) ** 0.5)
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update.view_as(weight), alpha=-group["lr"])


def orthogonalise(matrix: Tensor, rounds: int = 5) -> Tensor:
    """Return U V^T (approximately) of a matrix U S V^T by a quintic Newton-Schulz iteration."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(rounds):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    near: Tensor = x.T if tall else x
    return near


def optimisers(network: nn.Module, lr: float, weight_decay: float = 0.0) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrix-like weights and AdamW for biases, norms, tables and embeddings."""
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, weight in network.named_parameters():
        if not weight.requires_grad:
            continue
        # Tables such as (1, 6, d) and (1, n, d) and norm scales (d, 1, 1) are stacks of vectors, no matrices.
        flat = weight.flatten(1) if weight.ndim > 1 else None
        vector_like = flat is None or min(flat.shape) == 1 or weight.shape[0] == 1 or "embed" in name
        (rest if vector_like else matrices).append(weight)
    return [
        Muon(matrices, lr=lr, weight_decay=weight_decay),
        torch.optim.AdamW(rest, lr=lr, weight_decay=0.0, betas=(0.9, 0.99)),
    ]
