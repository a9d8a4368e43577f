"""The singular values of an update scale * B A, from its factors alone: out x in is never formed."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cinetune.adapters.form import Layer
from cinetune.errors import WeightsError


class Svd(NamedTuple):
    """U S V' = scale * B A, fp64; k is at most the rank."""

    left: Float[Tensor, "out k"]
    values: Float[Tensor, " k"]
    """Descending."""
    right: Float[Tensor, "into k"]


def svd(layer: Layer) -> Svd:
    """Return the singular value decomposition of a layer's update.

    B = Qb Rb and A' = Qa Ra, so B A = Qb (Rb Ra') Qa', and only the rank x rank core in the middle needs one
    (Golub and Van Loan, Matrix Computations, sec. 5.2 and 2.4).

    Raises:
        WeightsError: a weight is not finite.
    """
    a, b = layer.a.double().flatten(1), layer.b.double().flatten(1)
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise WeightsError("weights that are not finite; the training that made the adapter failed")
    qa, ra = torch.linalg.qr(a.T)
    qb, rb = torch.linalg.qr(b)
    left, values, right = torch.linalg.svd(layer.scale * rb @ ra.T, full_matrices=False)
    return Svd(qb @ left, values, qa @ right.T)


def energy_kept(values: Float[Tensor, " k"], rank: int) -> float | None:
    """Return the share 0..1 of the squared norm in the first `rank` singular values; None of an update of zeros."""
    total = values.square().sum().item()
    return values[:rank].square().sum().item() / total if total > 0 else None


def rank_for(values: Float[Tensor, " k"], energy: float) -> int:
    """Return the smallest rank, at least 1, that keeps this share 0..1 of the squared norm."""
    if not values.any():
        return 1
    shares = values.square().cumsum(0) / values.square().sum()
    return min(int((shares < energy).sum().item()) + 1, len(values))
