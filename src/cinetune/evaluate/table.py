"""Results as a table on the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from cinetune.records import Result

ARROWS = {"lower": "lower is better", "higher": "higher is better", "neither": "no better side"}


def print_table(results: Sequence[Result], console: Console) -> None:
    """Print one row for each result, then the reasons and backbones that the rows refer to."""
    table = Table(box=None, pad_edge=False)
    table.add_column("metric")
    table.add_column("arm")
    for column in ("estimate", "interval", "n", "p", "p (Holm)", "note"):
        table.add_column(column, justify="right")
    notes: list[str] = []
    shown = ""
    for result in results:
        name = "" if result.metric == shown else f"{result.metric} ({result.unit}, {ARROWS[result.better]})"
        shown = result.metric
        if result.reason and result.reason not in notes:
            notes.append(result.reason)
        table.add_row(
            name,
            result.arm,
            _number(result.estimate),
            "-" if result.low is None else f"{_number(result.low)} .. {_number(result.high)}",
            str(result.n),
            "" if result.p_value is None else f"{result.p_value:.2g}",
            "" if result.p_holm is None else f"{result.p_holm:.2g}",
            f"[{notes.index(result.reason) + 1}]" if result.reason else "",
            end_section=False,
        )
    console.print(table, markup=False)
    for level in sorted({result.level for result in results}):
        console.print(f"intervals at {level:.0%}", style="dim")
    if corrected := sum(result.p_holm is not None for result in results):
        console.print(f"p (Holm): corrected for all {corrected} differences of this evaluation", style="dim")
    for number, note in enumerate(notes, start=1):
        console.print(f"[{number}] {note}", style="dim", markup=False)
    for backbone in sorted({result.backbone for result in results if result.backbone}):
        about = ", not comparable with published numbers" if backbone.startswith("nano_") else ""
        console.print(f"looked through {backbone}{about}", style="dim", markup=False)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
