"""A bench as tables: on the terminal, and in table.md."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from cinetune.bench.latency import LEAST
from cinetune.bench.quality import METRICS
from cinetune.bench.results import about

MIB = 2**20
COLUMNS = {"lpips": ("LPIPS", 5), "psnr": ("PSNR", 1), "clip_text": ("text", 4), "clip_frames": ("frames", 4),
           "flicker": ("flicker", 3)}  # fmt: skip
"""By metric: head, and digits after the point."""


class Sheet(NamedTuple):
    """One table."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: tuple[str, ...] = ()
    brief: tuple[int, ...] = ()
    """Columns whose intervals do not fit a terminal; they are in table.md."""


def sheets(tree: dict[str, Any]) -> Iterator[Sheet]:
    """Yield the tables of a bench."""
    sizes = list(dict.fromkeys(cell["size"] for cell in tree["cells"]))
    for size in sizes:
        yield _cells(tree, size, last=size == sizes[-1])
    if tree["latency"]:
        yield _latency(tree)
    if tree["levers"]:
        yield _levers(tree)
    if tree["processes"]:
        yield _processes(tree)


def show(tree: dict[str, Any], console: Console) -> None:
    """Print all tables."""
    for sheet in sheets(tree):
        console.print(f"\n{sheet.title}", markup=False, highlight=False)
        table = Table(box=None, pad_edge=False, collapse_padding=True)
        for number, column in enumerate(sheet.head):
            table.add_column(column, justify="right" if number else "left", no_wrap=True)
        for row in sheet.rows:
            table.add_row(*(text.split(" [")[0] if n in sheet.brief else text for n, text in enumerate(row)))
        console.print(table, markup=False, highlight=False)
        for note in sheet.notes:
            console.print(note, style="dim", markup=False, highlight=False)


def markdown(tree: dict[str, Any]) -> str:
    """Return all tables in Markdown."""
    lines = [f"# bench generate: {tree['plan']['model']}", "", f"On {tree['machine']['device']}.", ""]
    for sheet in sheets(tree):
        lines += [f"## {sheet.title}", "", f"| {' | '.join(sheet.head)} |", f"|{'---|' * len(sheet.head)}"]
        lines += [f"| {' | '.join(row)} |" for row in sheet.rows] + [""]
        lines += [line for note in sheet.notes for line in (note, "")]
    return "\n".join(lines).rstrip() + "\n"


def _cells(tree: dict[str, Any], size: str, *, last: bool) -> Sheet:
    what = {"forward": "one forward pass", "block": "one block", "whole": "one window"}[tree["plan"]["kind"]]
    seconds = {"cpu": "CPU time of one thread", "wall": "time by the wall clock"}[tree["clock"]]
    rows = [
        (cell["arm"], str(cell["rank"]), f"{1000 * cell['seconds']:.4g}", _ratio(cell["over_base"]),
         f"{cell['weights'] / MIB:.4g}", _or_none(cell["peak"], lambda v: f"{v / MIB:.4g}"),
         _or_none(cell["share_of_limit"], lambda v: f"{v:.1%}"),
         _or_none(cell["videos_per_hour"], lambda v: f"{v:.1f}" if v < 100 else f"{v:.0f}"))
        for cell in tree["cells"] if cell["size"] == size
    ]  # fmt: skip
    head = ("arm", "rank", "ms", "over base", "weights", "peak", "of limit", "videos/h")
    return Sheet(f"{what} at {size} ({seconds}; MiB)", head, rows, _cell_notes(tree) if last else ())


def _cell_notes(tree: dict[str, Any]) -> tuple[str, ...]:
    plan, limit = tree["plan"], tree["limit"]
    notes = [f"{arm}: {about(arm)}" for arm in dict.fromkeys(cell["arm"] for cell in tree["cells"])]
    few = tree["rounds"] < LEAST
    intervals = f"no intervals, which need {LEAST}" if few else f"intervals at {tree['level']:.0%} over the rounds"
    notes.append(f"{tree['rounds']} rounds, of {plan['repeats']} runs the fastest; medians, and {intervals}; peak: of "
                 "tensors beside the weights")  # fmt: skip
    notes.append(
        f"of limit: {limit['flops'] / 1e9:.4g} GFLOP/s ({limit['source']})" if limit["flops"] else limit["source"]
    )
    if plan["kind"] == "forward":
        guided = ", two a step for guidance" if plan["guidance"] > 1 else ""
        notes.append(f"videos/h: {plan['steps']} steps{guided}, and decoding; encoding is left out")
    compiling = [cell["first_seconds"] for cell in tree["cells"] if cell["arm"] == "compiled"]
    if compiling:
        notes.append(f"a compiled network's first run takes {min(compiling):.1f} to {max(compiling):.1f} s")
    loads = [state["load"] for state in tree["states"] if state["load"] is not None]
    if loads:
        notes.append(f"load average while it ran: {min(loads):.1f} to {max(loads):.1f}")
    return tuple(notes)


def _latency(tree: dict[str, Any]) -> Sheet:
    rows, ranks = [], ""
    for line in tree["latency"]:
        model = line["model"]
        if model is None:
            rows.append((line["size"], line["arm"], f"none: {line['reason']}", "", ""))
            continue
        rows.append((line["size"], line["arm"], _percent(model["c0"], 1), _percent(model["c1"], 100),
                     f"{model['worst']:.2%}"))  # fmt: skip
        ranks = f"fitted to ranks {model['least']} to {model['most']}; worst: the measured rank farthest from the line"
    notes = [ranks] * bool(ranks)
    for merged in tree["merged"]:
        said = {True: "holds 1: merged = base within noise", False: "does not hold 1", None: "has no interval"}
        notes.append(f"merged over base at {merged['size']}, all ranks: {_ratio(merged['over_base'])} "
                     f"({said[merged['holds_1']]}); the base again: {_ratio(merged['control'])}")  # fmt: skip
    head = ("size", "arm", "c0", "c1 x 100", "worst")
    return Sheet("latency(r) = base (1 + c0 + c1 r)", head, rows, tuple(notes))


def _levers(tree: dict[str, Any]) -> Sheet:
    head = ("lever", "times as fast", "same", *(COLUMNS[name][0] for name in METRICS))
    rows, reasons = [], list[str]()
    for lever in tree["levers"]:
        name = f"--speed {lever['lever'][1:]}" if lever["lever"].startswith(":") else lever["lever"]
        if lever["reason"]:
            rows.append((name, f"none ({len(reasons) + 1})", *[""] * (len(head) - 2)))
            reasons.append(f"({len(reasons) + 1}) {lever['reason']}")
            continue
        scores = [_estimate(lever["scores"][metric]["estimate"], COLUMNS[metric][1]) for metric in METRICS]
        rows.append((name, _ratio(lever["faster"]), f"{lever['same']}/{lever['windows']}", *scores))
    notes = [
        *reasons,
        "same: windows of the same bytes as exact's; LPIPS and PSNR (dB): of lever and exact; CLIP of frame and text, "
        "of neighbouring frames, flicker (grey levels): lever minus exact; none: all frames are equal",
    ]
    notes += [lever["scores"]["lpips"]["reason"] for lever in tree["levers"][:1] if lever.get("windows", LEAST) < LEAST]
    through = tree["backbones"]
    if through:
        notes.append(f"windows of {through['size']}, looked at through {', '.join(through['backbones'])}")
        if any(name.startswith("nano_") for name in through["backbones"]):
            notes.append("numbers of nano networks are not comparable with published ones")
    return Sheet("levers against exact", head, rows, tuple(notes), brief=(3, 4, 5, 6, 7))


def _processes(tree: dict[str, Any]) -> Sheet:
    rows, notes = [], list[str]()
    for line in tree["processes"]:
        if line.get("reason"):
            rows.append((str(line["processes"]), line["shared"], "none", "", ""))
            notes.append(f"{line['processes']} processes: {line['reason']}")
            continue
        share = _or_none(line["speedup"], lambda v, n=line["processes"]: f"{v / n:.0%}")
        rows.append((str(line["processes"]), line["shared"], f"{line['median']:.3g}",
                     _or_none(line["speedup"], lambda v: f"{v:.3g}"), share))  # fmt: skip
    head = ("processes", "shared by", "s/window", "speed-up", "of ideal")
    return Sheet("one window shared by processes (time by the wall clock)", head, rows, tuple(notes))


def _or_none(value: float | None, text: Any) -> str:
    return "-" if value is None else str(text(value))


def _ratio(estimate: Any) -> str:
    if estimate is None:
        return "1"
    value, low, high = estimate
    return f"{value:.3f}" + ("" if low is None else f" [{low:.3f}, {high:.3f}]")


def _percent(estimate: Any, times: int) -> str:
    value, low, high = (None if end is None else 100 * times * end for end in estimate)
    return f"{value:.2f} %" + ("" if low is None else f" [{low:.2f}, {high:.2f}]")


def _estimate(estimate: Any, digits: int) -> str:
    if estimate is None:
        return "none"
    value, low, high = estimate
    return _fixed(value, digits) + ("" if low is None else f" [{_fixed(low, digits)}, {_fixed(high, digits)}]")


def _fixed(value: float, digits: int) -> str:
    """`value` with so many digits after the point; what rounds to zero has no sign."""
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text
