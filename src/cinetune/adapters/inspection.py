"""What an adapter file holds: format, ranks, alphas, targets, and where the strength of its update lies."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from cinetune import console
from cinetune.adapters import key_map
from cinetune.adapters.reading import find, read_adapter
from cinetune.adapters.spectrum import svd
from cinetune.adapters.targets import name_of
from cinetune.errors import WeightsError


@dataclass(frozen=True)
class Group:
    """Some layers together."""

    name: str
    layers: int
    ranks: list[int]
    """Each once, ascending."""
    alphas: list[float]
    """Each once, ascending."""
    norm: float
    """Frobenius norm of scale * B A over all its layers."""
    energy: dict[int, float] | None
    """Share 0..1 of the squared norm that rank 1, 2, 4, ... and the file's largest keep; None of an update of zeros."""


@dataclass(frozen=True)
class LayerReport:
    """One layer."""

    rank: int
    alpha: float
    scale: float
    norm: float
    singular_values: list[float]
    """Of scale * B A, descending."""


@dataclass(frozen=True)
class Inspection:
    """All that `adapter inspect` says."""

    file: str
    format: str
    precision: list[str]
    parameters: int
    dora: bool
    """Whether layers have magnitudes beside scale * B A, which is all that norms and energies here are of."""
    targets: str
    """A set's name, or "other"."""
    image_projections: bool
    """False for an adapter of text-to-video: on image-to-video these layers stay as they are."""
    total: Group
    targets_of: list[Group]
    """By the layer's name within its block."""
    blocks: list[Group]
    layers: dict[str, LayerReport]


def inspect(path: Path) -> Inspection:
    """Read an adapter file and measure it.

    Raises:
        WeightsError: it cannot be read, or has weights that are not finite.
    """
    adapter = read_adapter(path)
    reports = {}
    with console.progress("inspect", len(adapter.layers)) as advance:
        for name, layer in adapter.layers.items():
            try:
                values = svd(layer).values
            except WeightsError as error:
                raise WeightsError(f"{find(path)}: {name}: {error}") from None
            norm = values.square().sum().sqrt().item()
            reports[name] = LayerReport(layer.rank, layer.alpha, layer.scale, norm, values.tolist())
            advance(1)
    names = {name: key_map.split(name) for name in reports}
    blocks = sorted({number for number, _ in names.values() if number is not None})
    parts = sorted({part for _, part in names.values()})
    largest = max(report.rank for report in reports.values())
    kept = [2**n for n in range(largest.bit_length()) if 2**n < largest] + [largest]
    return Inspection(
        file=find(path).name,
        format=adapter.format,
        precision=[str(dtype).removeprefix("torch.") for dtype in adapter.dtypes],
        parameters=sum(layer.parameters for layer in adapter.layers.values()),
        dora=adapter.dora,
        targets=name_of(reports),
        image_projections=any("add_k_proj" in name or "add_v_proj" in name for name in reports),
        total=_group("all", reports, kept),
        targets_of=[_group(part, {n: r for n, r in reports.items() if names[n][1] == part}, kept) for part in parts],
        blocks=[_group(str(b), {n: r for n, r in reports.items() if names[n][0] == b}, kept) for b in blocks],
        layers=reports,
    )


def show(inspection: Inspection, out: Console) -> None:
    """Print an inspection as two tables, by target and by block."""
    total = inspection.total
    out.print(
        f"{inspection.file}: {inspection.format} format, {', '.join(inspection.precision)}, "
        f"{total.layers} layers, {inspection.parameters:,} weights, targets {inspection.targets}"
        + (", DoRA" if inspection.dora else ""),
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
    if "attn2.to_k" in {group.name for group in inspection.targets_of} and not inspection.image_projections:
        out.print("no image projections: on image-to-video they stay as they are", markup=False, soft_wrap=True)
    ranks = list(total.energy or {})
    for title, groups in (("target", [*inspection.targets_of, total]), ("block", inspection.blocks)):
        table = Table(title=f"norm and share of the energy, by {title}", box=None, pad_edge=False)
        for column in (title, "layers", "rank", "alpha", "norm", *(f"rank {rank}" for rank in ranks)):
            table.add_column(column, justify="left" if column == title else "right")
        for group in groups:
            shares = [f"{group.energy[rank]:.3f}" if group.energy else "zero" for rank in ranks]
            table.add_row(group.name, str(group.layers), _span(group.ranks), _span(group.alphas),
                          f"{group.norm:.4g}", *shares)  # fmt: skip
        if groups:
            out.print(table)


def _group(name: str, reports: Mapping[str, LayerReport], kept: list[int]) -> Group:
    values = torch.zeros(len(reports), kept[-1], dtype=torch.float64)
    for row, report in enumerate(reports.values()):
        values[row, : len(report.singular_values)] = torch.tensor(report.singular_values, dtype=torch.float64)
    total = values.square().sum().item()
    energy = {rank: values[:, :rank].square().sum().item() / total for rank in kept} if total > 0 else None
    return Group(
        name=name,
        layers=len(reports),
        ranks=sorted({r.rank for r in reports.values()}),
        alphas=sorted({r.alpha for r in reports.values()}),
        norm=total**0.5,
        energy=energy,
    )


def _span(values: list[int] | list[float]) -> str:
    return f"{values[0]:g}" if len(values) == 1 else f"{values[0]:g} to {values[-1]:g}"
