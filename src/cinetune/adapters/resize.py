"""An adapter of lower rank: the best approximation of each layer's update, or its leading ranks as they are."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cinetune import console
from cinetune.adapters.form import Adapter, Layer
from cinetune.adapters.reading import read_adapter
from cinetune.adapters.spectrum import Svd, energy_kept, rank_for, svd
from cinetune.adapters.writing import write_adapter
from cinetune.errors import RecipeError, WeightsError


@dataclass(frozen=True)
class Kept:
    """What is left of one layer."""

    before: int
    rank: int
    energy: float | None
    """1 - |what was cut off|^2 / |update|^2, 0..1 for the best approximation; None where the update is zero."""


def resize(
    source: Path, out: Path, *, rank: int | None = None, energy: float | None = None, leading: bool = False
) -> dict[str, Kept]:
    """Write an adapter cut down to `rank`, or to the rank that keeps the share `energy` in each layer.

    The file stays in its format. Returns what is left of each layer.

    Args:
        leading: keep the first `rank` rows of A and columns of B as they are, for an adapter of `train.nested_ranks`;
            else the best approximation of that rank is made (Eckart and Young 1936).

    Raises:
        RecipeError: not exactly one of rank (at least 1) and energy (above 0, up to 1), or energy with `leading`.
        WeightsError: the source cannot be read, or has weights that are not finite.
        RunError: `out` cannot be written.
    """
    if (rank is None) == (energy is None):
        raise RecipeError("resize: give either --rank or --energy")
    if (rank is not None and rank < 1) or (energy is not None and not 0 < energy <= 1):
        raise RecipeError("resize: a rank is at least 1, an energy above 0 and at most 1")
    if leading and rank is None:
        raise RecipeError("resize: --leading needs --rank, one of the recipe's train.nested_ranks")
    adapter = read_adapter(source)
    layers, kept = {}, {}
    with console.progress("resize", len(adapter.layers)) as advance:
        for name, layer in adapter.layers.items():
            layers[name], kept[name] = shrink(layer, rank=rank, energy=energy, leading=leading, name=name)
            advance(1)
    write_adapter(out, Adapter(layers, adapter.format), adapter.format)
    shares = [k.energy for k in kept.values() if k.energy is not None]
    ranks = sorted({k.rank for k in kept.values()})
    worst = f"; the layer that lost most keeps {min(shares):.4f} of its energy" if shares else "; the update is zero"
    console.done(f"resize: rank {ranks[0]}{f' to {ranks[-1]}' if len(ranks) > 1 else ''} in {out}{worst}")
    return kept


def shrink(
    layer: Layer, *, rank: int | None, energy: float | None, name: str, leading: bool = False
) -> tuple[Layer, Kept]:
    """Return a layer of scale 1 (alpha = rank), or with `leading` of its own scale, and what it keeps.

    A layer that is small enough stays as it is. DoRA's magnitude stays in any case.

    Raises:
        WeightsError: a weight is not finite.
    """
    try:
        found = svd(layer)
    except WeightsError as error:
        raise WeightsError(f"{name}: {error}") from None
    wanted = min(rank if rank is not None else rank_for(found.values, energy or 1.0), layer.rank)
    if wanted == layer.rank:
        return layer, Kept(layer.rank, layer.rank, energy_kept(found.values, layer.rank))
    if leading:
        lost = svd(replace(layer, a=layer.a[wanted:], b=layer.b[:, wanted:], alpha=_alpha(layer, layer.rank - wanted)))
        whole = found.values.square().sum().item()
        left = 1 - lost.values.square().sum().item() / whole if whole > 0 else None
        return first_ranks(layer, wanted), Kept(layer.rank, wanted, left)
    return _cut(layer, found, wanted), Kept(layer.rank, wanted, energy_kept(found.values, wanted))


def first_ranks(layer: Layer, rank: int) -> Layer:
    """Return the first `rank` rows of A and columns of B, with an alpha that leaves the scale what it was."""
    a, b = layer.a[:rank].contiguous(), layer.b[:, :rank].contiguous()
    return replace(layer, a=a, b=b, alpha=_alpha(layer, rank))


def _alpha(layer: Layer, rank: int) -> float:
    """The alpha with which a part of so many ranks keeps the layer's scale."""
    return layer.scale * (math.sqrt(rank) if layer.rslora else rank)


def _cut(layer: Layer, found: Svd, rank: int) -> Layer:
    """Both factors get the square root of the singular values, so that neither over- nor underflows in fp16."""
    root = found.values[:rank].sqrt()
    b = (found.left[:, :rank] * root).reshape(layer.b.shape[0], rank, *layer.b.shape[2:])
    a = (found.right[:, :rank] * root).T.reshape(rank, *layer.a.shape[1:])
    a, b = a.to(layer.a.dtype).contiguous(), b.to(layer.b.dtype).contiguous()
    return Layer(a, b, float(rank), magnitude=layer.magnitude)


def show(kept: dict[str, Kept], out: Console) -> None:
    """Print what each layer kept."""
    table = Table("layer", "rank before", "rank", "energy kept", box=None, pad_edge=False)
    for name, left in kept.items():
        energy = "zero update" if left.energy is None else f"{left.energy:.4f}"
        table.add_row(name, str(left.before), str(left.rank), energy)
    out.print(table)
