"""The numbers of the page: every metric of every arm with its interval, and the paired differences."""

from collections.abc import Sequence
from dataclasses import dataclass

from cinetune.records import Result
from cinetune.report.comparison import Comparison
from cinetune.report.numerals import fixed, interval, label, p_text, result_decimals
from cinetune.report.verdict import Change, changes

ARM_TITLES = {"base": "base", "tuned": "tuned", "static": "held still", "real": "the film itself"}
DIRECTIONS = {"lower": "lower is better", "higher": "higher is better", "neither": "neither way is better"}
ARROWS = {"lower": "↓", "higher": "↑", "neither": "↔"}
HALF = 92.0
"""Half the length of a whisker plot in its own units; its middle is zero."""


@dataclass(frozen=True)
class Cell:
    """A number, its interval, and the number of the note that belongs to it."""

    value: str = ""
    """"" where there is no number; the note says why."""
    interval: str = ""
    note: int = 0
    """From 1; 0 = none."""


@dataclass(frozen=True)
class Whisker:
    """A difference and its interval from -HALF to HALF; better is to the right."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class MetricRow:
    """One line of the table."""

    name: str
    version: str
    unit: str
    backbone: str
    arrow: str
    direction: str
    cells: dict[str, Cell]
    """By arm."""
    difference: Cell
    others: tuple[tuple[str, Cell], ...]
    """Further paired differences: the arm they are against, and the number."""
    outcome: str
    whisker: Whisker | None
    p: str
    n: int


@dataclass(frozen=True)
class Dot:
    """One held-out clip on the line of differences; better is to the right, units as in Whisker."""

    x: float
    source: str
    difference: str
    open: bool


@dataclass(frozen=True)
class Table:
    """The whole table."""

    arms: dict[str, str]
    """Column titles of the arms that were measured, in the order of the page."""
    rows: list[MetricRow]
    notes: list[str]
    """What the results say about themselves: why a number is missing, or what to keep in mind."""


def tabulate(results: Sequence[Result]) -> Table:
    """Return one row for each metric, in the order of the results."""
    arms = {arm: title for arm, title in ARM_TITLES.items() if any(r.arm == arm for r in results)}
    notes = list(dict.fromkeys(r.reason for r in results if r.reason))
    metrics = dict.fromkeys(r.metric for r in results)
    return Table(arms, [_row([r for r in results if r.metric == m], notes) for m in metrics], notes)


def _row(mine: list[Result], notes: list[str]) -> MetricRow:
    change = next(iter(changes(mine)), None)
    shown = change.difference if change else mine[0]
    digits = result_decimals(shown)
    return MetricRow(
        name=label(shown.metric),
        version=shown.version,
        unit=shown.unit,
        backbone=shown.backbone,
        arrow=ARROWS[shown.better],
        direction=DIRECTIONS[shown.better],
        cells={r.arm: cell(r, digits, notes) for r in mine if r.arm in ARM_TITLES},
        difference=cell(change.difference, digits, notes) if change else Cell(),
        others=tuple(
            (r.arm.removeprefix("tuned - "), cell(r, digits, notes))
            for r in mine
            if r.arm.startswith("tuned - ") and r is not shown
        ),
        outcome=change.outcome if change else "unknown",
        whisker=whisker(change) if change else None,
        p=p_text(change.difference.p_value) if change else "",
        n=shown.n,
    )


def cell(result: Result, digits: int, notes: list[str]) -> Cell:
    """Return a result as text with `digits` after the point."""
    note = notes.index(result.reason) + 1 if result.reason else 0
    if result.estimate is None:
        return Cell(note=note)
    value = fixed(result.estimate, digits)
    if result.low is None or result.high is None:
        return Cell(value, note=note)
    return Cell(value, interval(result.low, result.high, digits), note)


def whisker(change: Change) -> Whisker | None:
    """Return where a difference and its interval lie; each metric has its own scale, zero is common."""
    d = change.difference
    if d.estimate is None or d.low is None or d.high is None:
        return None
    scale = max(abs(d.low), abs(d.high), abs(d.estimate)) or 1.0
    sign = -HALF / scale if d.better == "lower" else HALF / scale
    ends = sorted((d.low * sign, d.high * sign))
    return Whisker(round(ends[0], 2), round(d.estimate * sign, 2), round(ends[1], 2))


def dots(comparison: Comparison) -> list[Dot]:
    """Return every held-out clip as a dot, worst change first."""
    measured = [(row, row.difference) for row in comparison.rows if row.difference is not None]
    scale = max((abs(d) for _, d in measured), default=0.0) or 1.0
    sign = -HALF / scale if comparison.better == "lower" else HALF / scale
    return [Dot(round(d * sign, 2), row.source, f"{d:+.3f}", row.open) for row, d in measured]
