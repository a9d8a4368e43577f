"""The training curves as inline SVG in the page's own colours, drawn by matplotlib without its global state."""

import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float

from cinetune.ops import flow
from cinetune.report.numerals import label
from cinetune.report.run_files import RunFiles, Validation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, QUIET, ACCENT = "#010203", "#040506", "#070809"
"""Stand-ins that become the page's CSS variables, so that the curves follow light and dark."""
PAPER_NAMES = {INK: "var(--ink)", QUIET: "var(--quiet)", ACCENT: "var(--accent)"}
BINS = 40
SIZE = (5.6, 3.5)
"""Inches of 72 px: small enough to be read on a phone, two beside each other on a desktop."""


def loss_svg(run: RunFiles) -> str:
    """Return the flow loss over the steps as SVG, or "" when none was logged."""
    steps = [line["step"] for line in run.log if line.get("loss") is not None]
    if not steps:
        return ""
    losses = np.array([line["loss"] for line in run.log if line.get("loss") is not None], dtype=np.float64)

    def draw(axes: "Axes") -> None:
        axes.plot(steps, losses, color=QUIET, alpha=0.35, linewidth=0.7)
        axes.plot(steps, smooth(losses), color=QUIET, linewidth=1.6, label="training, smoothed")
        held_out = _from_the_base(run, "base_loss", "loss")
        learnt = _from_the_base(run, "base_training_loss", "training_loss")
        if held_out:
            axes.plot(*zip(*held_out, strict=True), color=ACCENT, marker="o", markersize=3.5, label="held-out clips")
        if learnt:
            axes.plot(*zip(*learnt, strict=True), color=ACCENT, linestyle="--", linewidth=1.2, label="training clips")
        if len(held_out) == len(learnt):  # the gap
            at, above, below = zip(*((s, a, b) for (s, a), (_, b) in zip(held_out, learnt, strict=True)), strict=True)
            axes.fill_between(at, above, below, color=ACCENT, alpha=0.14, linewidth=0)
        low, high = np.quantile(losses, [0.0, 0.98])
        top = max([high, *(loss for _, loss in held_out + learnt)])
        axes.set_ylim(max(0.0, low - 0.08 * (top - low)), top + 0.08 * (top - low))  # first steps may tower
        mark_stop(axes, run)
        axes.set_ylabel("flow loss")
        axes.legend(frameon=False, loc="upper right", labelcolor=INK)

    return svg("loss", draw)


def metric_svg(run: RunFiles) -> str:
    """Return the metric that decides over the steps as SVG, or "" when there was no validation."""
    seen = [v for v in run.validations if v.value is not None]
    if not seen:
        return ""

    def draw(axes: "Axes") -> None:
        values = [(v.step, v.value) for v in seen]
        axes.plot(*zip(*values, strict=True), color=ACCENT, marker="o", markersize=3.5, linewidth=1.8)
        band = [(v.step, v.low, v.high) for v in seen if v.low is not None and v.high is not None]
        if band:
            steps, low, high = zip(*band, strict=True)
            axes.fill_between(steps, low, high, color=ACCENT, alpha=0.14, linewidth=0)
        baseline(axes, seen, "base", [v.base for v in seen], "--")
        baseline(axes, seen, "frame held still", [v.static for v in seen], ":")
        best = next((v for v in seen if v.step == run.training.get("best_step")), None)
        if best and best.value is not None:
            axes.plot(best.step, best.value, "o", markersize=11, mfc="none", mec=ACCENT, mew=1.6)
            axes.annotate(
                f"best, step {best.step}",
                (best.step, best.value),
                (0, -16 if best.better == "lower" else 10),
                textcoords="offset points",
                ha="center",
                color=ACCENT,
            )
        axes.margins(y=0.16)
        mark_stop(axes, run)
        axes.set_ylabel(f"held-out {label(seen[0].metric)}, {seen[0].better} is better")

    return svg("metric", draw)


def levels_svg(run: RunFiles) -> str:
    """Return the held-out flow loss at each noise level, against the base, as SVG, or "" when none was measured."""
    seen = [v for v in run.validations if v.losses and v.base_losses]
    if not seen:
        return ""
    steps = [0, *(v.step for v in seen)]
    change = np.array(
        [[100 * (now / base - 1) for now, base in zip(v.losses, v.base_losses, strict=True)] for v in seen]
    )
    lines = np.vstack([np.zeros(len(seen[0].levels)), change])

    def draw(axes: "Axes") -> None:
        axes.axhline(0, color=QUIET, linestyle="--", linewidth=1.2)
        for n, level in enumerate(seen[0].levels):
            shade = 0.25 + 0.75 * n / max(1, len(seen[0].levels) - 1)
            ends = n in (0, len(seen[0].levels) - 1)
            name = f"noise level {level:.2f}" if ends else None
            axes.plot(steps, lines[:, n], color=ACCENT, alpha=shade, linewidth=1.8 if ends else 1.1, label=name)
        mark_stop(axes, run)
        axes.set_ylabel("held-out flow loss against the base, %")
        axes.legend(frameon=False, loc="best", labelcolor=INK)

    return svg("levels", draw)


def sigma_svg(run: RunFiles) -> str:
    """Return the histogram of the noise levels that were trained on as SVG, or "" when none was logged."""
    seen = [sigma for line in run.log for sigma in line.get("sigma", ())]
    settings = run.recipe["train"]
    if not seen or "sigma_density" not in settings:
        return ""
    many = torch.Generator().manual_seed(0)
    asked = flow.sample_sigma(200_000, generator=many, density=settings["sigma_density"])
    asked = flow.shift_sigma(asked, settings["shift"])

    def draw(axes: "Axes") -> None:
        axes.hist(seen, bins=BINS, range=(0, 1), density=True, color=QUIET, alpha=0.35, label=f"{len(seen):,} drawn")
        heights, edges = np.histogram(asked.numpy(), bins=BINS, range=(0, 1), density=True)
        name = f"{settings['sigma_density'].replace('_', '-')}, shift {settings['shift']:g}"
        axes.plot((edges[1:] + edges[:-1]) / 2, heights, color=ACCENT, linewidth=1.6, label=name)
        axes.set_xlim(0, 1)
        axes.set_yticks([])
        axes.legend(frameon=False, loc="upper left", labelcolor=INK)

    return svg("sigma", draw, along="noise level, 0 data to 1 noise")


def _from_the_base(run: RunFiles, base: str, now: str) -> list[tuple[int, float]]:
    """A loss at every validation, after the base's at step 0 where it is known."""
    start = next((getattr(v, base) for v in run.validations if getattr(v, base) is not None), None)
    first = [] if start is None else [(0, start)]
    return first + [(v.step, getattr(v, now)) for v in run.validations if getattr(v, now) is not None]


def baseline(axes: "Axes", seen: Sequence[Validation], name: str, values: Sequence[float | None], style: str) -> None:
    """Draw a level that does not depend on the adapter, named at its left end."""
    value = next((v for v in reversed(values) if v is not None), None)
    if value is None:
        return
    axes.axhline(value, color=QUIET, linestyle=style, linewidth=1.2)
    axes.annotate(name, (seen[0].step, value), (0, 3), textcoords="offset points", ha="left", va="bottom", color=INK)


def mark_stop(axes: "Axes", run: RunFiles) -> None:
    """Mark the step at which training stopped, and why."""
    steps = run.training.get("steps")
    if steps is None:
        return
    axes.axvline(steps, color=INK, linewidth=0.8)
    why = {"plateau": "stopped: plateau", "steps": "stopped: all steps"}.get(run.training.get("stopped", ""), "")
    axes.annotate(
        why, (steps, 1.0), (4, 3), ("data", "axes fraction"), "offset points", ha="right", va="bottom", color=INK
    )  # fmt: skip


def smooth(values: Float[np.ndarray, " n"], span: int = 25) -> Float[np.ndarray, " n"]:
    """Return the mean over a window of `span` steps centred on each step, shorter at the ends."""
    half = min(span, len(values)) // 2
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return np.asarray((sums[high] - sums[low]) / (high - low))


def svg(name: str, draw: Callable[["Axes"], None], along: str = "step", size: tuple[float, float] = SIZE) -> str:
    """Return a figure as an SVG element for the inside of a page: same input, same bytes."""
    import matplotlib  # here, because loading it may write a font cache
    from matplotlib.figure import Figure

    salt = f"cinetune-{name}"  # else the ids inside differ from run to run
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt, "font.size": 10}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.set_xlabel(along)
        axes.patch.set_visible(False)
        figure.patch.set_visible(False)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(QUIET)
        axes.tick_params(colors=QUIET, labelcolor=INK)
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
        buffer = io.StringIO()
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=metadata)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{name}-", text)  # two figures share one page
    text = re.sub(r'^<svg[^>]*(viewBox="[^"]*")[^>]*>', r"<svg \1>", text)  # the page sets the size
    for colour, variable in PAPER_NAMES.items():
        text = text.replace(colour, variable)
    return text
