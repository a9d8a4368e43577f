"""The scores of single videos as pictures: how each arm is spread, and how each video changes between two arms."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from cinetune.report.comparison import spread
from cinetune.report.plots import ACCENT, INK, QUIET, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 150
"""Dots or lines of one arm; more would only make a black band and a heavy page."""
ROW = 0.62
"""Height of one arm, inches of 72 px."""
NAME = 22
"""Letters of an arm's name beside its dots."""
Values = Float[np.ndarray, " n"]


def distribution_svg(
    name: str,
    arms: Mapping[str, Sequence[float]],
    subject: str,
    means: Mapping[str, tuple[float, float, float]],
    unit: str,
) -> str:
    """Return the scores of each arm as dots under their density, or "" where there are none.

    Args:
        name: distinguishes the ids inside from those of other figures on the page.
        arms: scores by title of the arm, in any order.
        subject: title of the arm that is drawn in the accent colour.
        means: (low, estimate, high) by title, where there is an interval.
        unit: below the axis.
    """
    rows = {title: np.sort(np.asarray(scores, np.float64)) for title, scores in arms.items() if len(scores)}
    if not rows:
        return ""

    def draw(axes: "Axes") -> None:
        for place, (title, scores) in enumerate(rows.items()):
            colour = ACCENT if title == subject else QUIET
            _density(axes, scores, place, colour)
            shown = scores[spread(len(scores), MOST)]
            axes.scatter(shown, place + 0.16 + 0.2 * _scatter(len(shown)), s=9, color=colour, alpha=0.6, linewidths=0)
            if title in means:
                low, middle, high = means[title]
                axes.plot([low, high], [place, place], color=INK, linewidth=2.2, solid_capstyle="butt")
                axes.plot(middle, place, "o", color=INK, markersize=5)
        axes.set_yticks(range(len(rows)), [plain(f"{_short(title)} ({len(s)})") for title, s in rows.items()])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.04)

    return _quiet_svg(name, draw, plain(unit), (5.6, 0.75 + ROW * len(rows)))


def slopes_svg(name: str, pairs: Sequence[tuple[float, float]], titles: tuple[str, str], better: str, unit: str) -> str:
    """Return a line for each video from its score in one arm to that in another, or "" where no video has both.

    Args:
        name: distinguishes the ids inside.
        pairs: (score in the first arm, score in the second).
        titles: of the two arms.
        better: direction of the metric.
        unit: beside the axis.
    """
    if not pairs:
        return ""
    ordered = sorted(pairs, key=lambda pair: pair[1] - pair[0])
    shown = [ordered[i] for i in spread(len(ordered), MOST)]

    def draw(axes: "Axes") -> None:
        for one, other in shown:
            gained = better != "neither" and other != one and (other > one) == (better == "higher")
            colour, alpha = (ACCENT, 0.6) if gained else (QUIET, 0.5)
            axes.plot([0, 1], [one, other], linewidth=1.0, marker="o", markersize=2.5, color=colour, alpha=alpha)
        axes.plot([0, 1], np.mean(pairs, axis=0), color=INK, linewidth=2.4, marker="o", markersize=5)
        axes.set_xticks([0, 1], [plain(_short(title)) for title in titles])
        axes.set_xlim(-0.25, 1.25)
        axes.set_ylabel(plain(unit))

    return _quiet_svg(name, draw, "", (5.6, 3.5))


def change_words(pairs: Sequence[tuple[float, float]], better: str) -> str:
    """Return how many videos went which way: "18 better, 6 worse"."""
    up = sum(other > one for one, other in pairs)
    down = sum(other < one for one, other in pairs)
    same = len(pairs) - up - down
    good, bad = (down, up) if better == "lower" else (up, down)
    words = ("higher", "lower") if better == "neither" else ("better", "worse")
    return f"{good} {words[0]}, {bad} {words[1]}" + (f", {same} the same" if same else "")


def plain(text: str) -> str:
    """Return text that matplotlib takes literally; a dollar sign would begin a formula."""
    return text.replace("$", r"\$")


def _density(axes: "Axes", scores: Values, place: int, colour: str) -> None:
    """Draw a Gaussian kernel density above a row (Silverman's width); too few or equal scores have none.

    Where no score is below 0 the density is not either: what would lie there is folded back.
    """
    deviation = float(scores.std(ddof=1)) if len(scores) > 4 else 0.0
    quarter = float(np.subtract(*np.quantile(scores, [0.75, 0.25]))) / 1.34
    width = 0.9 * min(deviation, quarter or deviation) * len(scores) ** -0.2
    if width <= 0:
        return
    at = np.linspace(scores[0] - 2 * width, scores[-1] + 2 * width, 120)
    centres = scores[spread(len(scores), 2000)]
    if scores[0] >= 0:
        at, centres = np.linspace(max(at[0], 0.0), at[-1], 120), np.concatenate([centres, -centres])
    heights = np.exp(-0.5 * ((at[:, None] - centres) / width) ** 2).sum(axis=1)
    axes.fill_between(at, place - 0.4 * heights / heights.max(), place, color=colour, alpha=0.22, linewidth=0)


def _scatter(count: int) -> Values:
    """Heights 0..1 that keep neighbours apart: the golden ratio's multiples, so the same dots every time."""
    return np.arange(count, dtype=np.float64) * 0.6180339887498949 % 1.0


def _short(title: str) -> str:
    return title if len(title) <= NAME else f"{title[: NAME - 1]}\u2026"


def _quiet_svg(name: str, draw: Callable[["Axes"], None], along: str, size: tuple[float, float]) -> str:
    with warnings.catch_warnings():
        # the browser has the letters that matplotlib's own font lacks
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        return svg(name, draw, along, size)
