"""The numbers of an evaluation: for every metric each arm, what the real videos say, and each difference."""

from dataclasses import dataclass

from cinetune.records import Result
from cinetune.report.evaluation_files import REAL, Evaluation
from cinetune.report.evaluation_words import outcome
from cinetune.report.numerals import label, p_text, result_decimals
from cinetune.report.table import ARROWS, DIRECTIONS, HALF, Cell, Whisker, cell

REAL_TITLES = {"set": "noise floor: real against real"}
"""What the real videos' own number is, by kind of metric; for other kinds it is a number like any other."""


@dataclass(frozen=True)
class Line:
    """One result."""

    title: str
    role: str
    """"arm", "still", "real" or "difference"."""
    cell: Cell
    n: int
    p: str
    p_holm: str
    outcome: str
    """Of a difference (see `evaluation_words.outcome`), else ""."""
    whisker: Whisker | None


@dataclass(frozen=True)
class Group:
    """All results of one metric."""

    metric: str
    name: str
    unit: str
    backbone: str
    arrow: str
    direction: str
    lines: list[Line]
    floor: Whisker | None
    """Where the real videos lie on the scale that the arms share."""


@dataclass(frozen=True)
class Numbers:
    """The whole table."""

    groups: list[Group]
    notes: list[str]


def numbers(e: Evaluation) -> Numbers:
    """Return one group for each metric, in the order of the results."""
    known = [r for r in e.results if r.arm in {*e.arms, REAL, *e.differences}]
    notes = list(dict.fromkeys(r.reason for r in known if r.reason))
    metrics = dict.fromkeys(r.metric for r in known)
    return Numbers([_group(e, [r for r in known if r.metric == m], notes) for m in metrics], notes)


def _group(e: Evaluation, mine: list[Result], notes: list[str]) -> Group:
    first = mine[0]
    order = {name: n for n, name in enumerate([*e.arms, REAL, *e.differences])}
    mine = sorted(mine, key=lambda r: order[r.arm])
    levels = [r for r in mine if r.arm not in e.differences]
    ends = [x for r in levels for x in (r.low, r.estimate, r.high) if x is not None]
    span = (min(ends), max(ends)) if ends else (0.0, 0.0)
    real = next((r for r in levels if r.arm == REAL), None)
    return Group(
        metric=first.metric,
        name=label(first.metric),
        unit=first.unit,
        backbone=first.backbone,
        arrow=ARROWS[first.better],
        direction=DIRECTIONS[first.better],
        lines=[_line(e, r, span, notes) for r in mine],
        floor=_place(real, span) if real else None,
    )


def _line(e: Evaluation, r: Result, span: tuple[float, float], notes: list[str]) -> Line:
    between = r.arm in e.differences
    if between:
        a, b = e.differences[r.arm]
        title, role = f"{e.title(a)} \u2212 {e.title(b)}", "difference"
    elif r.arm == REAL:
        title, role = REAL_TITLES.get(r.kind, "real videos"), "real"
    else:
        title, role = e.title(r.arm), "still" if r.arm in e.stills else "arm"
    return Line(
        title=title,
        role=role,
        cell=cell(r, result_decimals(r), notes),
        n=r.n,
        p=p_text(r.p_value),
        p_holm=p_text(r.p_holm),
        outcome=outcome(r) if between else "",
        whisker=_centred(r) if between else _place(r, span),
    )


def _place(r: Result, span: tuple[float, float]) -> Whisker | None:
    """Return where a result lies on the scale that the arms of its metric share; smaller is to the left."""
    if r.estimate is None or r.low is None or r.high is None:
        return None
    low, high = span
    wide = (high - low) or 1.0

    def at(x: float) -> float:
        return round(-HALF + 2 * HALF * (x - low) / wide, 2)

    return Whisker(at(r.low), at(r.estimate), at(r.high))


def _centred(r: Result) -> Whisker | None:
    """Return where a difference lies round zero; the scale is its own, and larger is to the right."""
    if r.estimate is None or r.low is None or r.high is None:
        return None
    scale = HALF / (max(abs(r.low), abs(r.high), abs(r.estimate)) or 1.0)
    return Whisker(round(r.low * scale, 2), round(r.estimate * scale, 2), round(r.high * scale, 2))
