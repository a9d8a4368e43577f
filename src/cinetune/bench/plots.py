"""The plots of a bench, PNG."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cinetune.files import write_aside

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, ACCENT = "#222222", "#8a8a8a", "#b3541e"
DPI = 144
PANEL = (2.9, 2.5)
"""Inches of one small multiple."""
NEAR = 1e-5
"""LPIPS below which the axis is linear, above it logarithmic."""


def draw(tree: dict[str, Any], out: Path) -> list[Path]:
    """Write the plots that there are numbers for and return their files."""
    drawn = []
    if any(line["model"] for line in tree["latency"]):
        drawn.append(_save(_latency(tree), out / "latency.png"))
    measured = [lever for lever in tree["levers"] if not lever["reason"]]
    if measured:
        drawn.append(_save(_levers(measured, tree["backbones"]), out / "levers.png"))
    shared = [line for line in tree["processes"] if line.get("speedup")]
    if len(shared) > 1:
        drawn.append(_save(_processes(shared), out / "processes.png"))
    return drawn


def _latency(tree: dict[str, Any]) -> "Figure":
    """latency(r) over base: one row a size, one column an arm, all on one scale."""
    sizes, arms = (list(dict.fromkeys(line[key] for line in tree["latency"])) for key in ("size", "arm"))
    figure = _figure(PANEL[0] * len(arms), PANEL[1] * len(sizes))
    panels = figure.subplots(len(sizes), len(arms), sharex=True, sharey=True, squeeze=False)
    for line in tree["latency"]:
        axes = panels[sizes.index(line["size"])][arms.index(line["arm"])]
        axes.axhline(0, color=QUIET, linewidth=0.8)
        if line["model"]:
            _points(axes, line["ranks"], line["points"])
            ranks, ratios = zip(*line["line"], strict=True)
            axes.plot(ranks, [100 * (ratio - 1) for ratio in ratios], color=ACCENT, linewidth=1.2)
            c0, c1 = line["model"]["c0"][0], line["model"]["c1"][0]
            told = f"c0 {100 * c0:+.1f} %, c1 {100 * c1:+.3f} %"
            axes.text(0.03, 0.96, told, transform=axes.transAxes, va="top", fontsize=8, color=INK)
        _plain(axes)
    for axes, arm in zip(panels[0], arms, strict=True):
        axes.set_title(arm, fontsize=10, color=INK)
    for axes, size in zip(panels[:, 0], sizes, strict=True):
        axes.set_ylabel(f"{size}\nover base, %")
        axes.margins(y=0.18)
    for axes in panels[-1]:
        axes.set_xlabel("rank")
    return figure


def _points(axes: "Axes", ranks: Sequence[int], points: Sequence[Any]) -> None:
    values = [100 * (value - 1) for value, _, _ in points]
    axes.plot(ranks, values, "o", color=INK, markersize=3)
    for rank, (_, low, high) in zip(ranks, points, strict=True):
        if low is not None:
            axes.plot([rank, rank], [100 * (low - 1), 100 * (high - 1)], color=INK, linewidth=1)


def _levers(levers: Sequence[dict[str, Any]], through: dict[str, Any]) -> "Figure":
    """How far from exact, over how many times as fast. Names stand beside, in the order of the heights."""
    figure = _figure(7.2, 0.22 * len(levers) + 2.6)
    axes = figure.add_subplot()
    axes.axvline(1, color=QUIET, linewidth=0.8)
    axes.set_yscale("symlog", linthresh=NEAR)
    distances = [lever["scores"]["lpips"]["estimate"] for lever in levers]
    axes.set_ylim(-0.15 * NEAR, 10 ** max(-3, math.ceil(math.log10(max(top or y or NEAR for y, _, top in distances)))))
    order = sorted(range(len(levers)), key=lambda n: (round(distances[n][0], 6), -levers[n]["faster"][0]))
    for place, n in enumerate(order):
        (x, low, high), (y, bottom, top) = levers[n]["faster"], distances[n]
        if low is not None:
            axes.plot([low, high], [y, y], color=QUIET, linewidth=1)
        if bottom is not None:
            axes.plot([x, x], [bottom, top], color=QUIET, linewidth=1)
        preset = levers[n]["lever"].startswith(":")
        colour, name = (ACCENT, f"--speed {levers[n]['lever'][1:]}") if preset else (INK, levers[n]["lever"])
        axes.plot(x, y, "D" if preset else "o", color=colour, markersize=5)
        beside = (1.04, (place + 0.5) / len(levers))
        axes.annotate(name, (x, y), beside, textcoords="axes fraction", va="center", fontsize=8, color=colour,
                      arrowprops={"arrowstyle": "-", "color": QUIET, "linewidth": 0.4, "relpos": (0, 0.5)})  # fmt: skip
    network = next((name for name in through["backbones"] if "lpips" in name), "")
    axes.set_xlabel("times as fast as exact")
    axes.set_ylabel(f"LPIPS to exact ({network.split(' ')[0]})")
    axes.margins(x=0.08)
    _plain(axes)
    return figure


def _processes(lines: Sequence[dict[str, Any]]) -> "Figure":
    figure = _figure(4.2, 3.4)
    axes = figure.add_subplot()
    most = max(line["processes"] for line in lines)
    axes.plot([1, most], [1, most], color=QUIET, linewidth=0.8, linestyle="--")
    for shared in dict.fromkeys(line["shared"] for line in lines if line["processes"] > 1):
        own = [line for line in lines if line["shared"] == shared or line["processes"] == 1]
        axes.plot([line["processes"] for line in own], [line["speedup"] for line in own], "o-", label=shared)
    axes.set_xlabel("processes")
    axes.set_ylabel("speed-up")
    axes.legend(frameon=False, fontsize=8)
    _plain(axes)
    return figure


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure  # here, because loading it may write a font cache

    return Figure(figsize=(width, height), layout="constrained")


def _plain(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
    axes.tick_params(colors=QUIET, labelcolor=INK, labelsize=8)


def _save(figure: "Figure", path: Path) -> Path:
    with write_aside(path) as aside:
        figure.savefig(aside, format="png", dpi=DPI, metadata={"Software": None})
    return path
