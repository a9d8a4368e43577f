"""Which held-out clips stand on the page, in which order, and which are open: a spread, never a choice."""

from collections.abc import Sequence
from dataclasses import dataclass

from cinetune.records import Result, Sample, Score
from cinetune.report.numerals import label

ARMS = ("base", "tuned", "static")


@dataclass(frozen=True)
class Row:
    """One held-out clip and its videos."""

    source: str
    samples: dict[str, Sample]
    """By arm."""
    values: dict[str, float]
    """The ordering metric by arm, where it was computed."""
    place: str
    """Where the clip stands, in words: "worst change of 24"."""
    difference: float | None
    """Tuned minus base in the ordering metric; None where one of them was not computed."""
    open: bool
    """Stands on the page before anybody asks for all."""


@dataclass(frozen=True)
class Comparison:
    """All held-out clips, from the worst change to the best."""

    metric: str
    """The ordering metric as people write it, or "" where no score pairs the arms."""
    better: str
    rows: tuple[Row, ...]


def compare(samples: Sequence[Sample], scores: Sequence[Score], results: Sequence[Result], shown: int) -> Comparison:
    """Order the held-out clips by the paired difference of the first metric that judges against the truth."""
    sources = sorted({s.source for s in samples})
    arms = {(s.source, s.arm): s for s in samples}
    judging = [r for r in results if r.kind == "pair" and r.arm == "tuned - base" and r.better != "neither"]
    pair = judging[0] if judging else None
    values = {(s.source, s.arm): s.value for s in scores if pair and s.metric == pair.metric and s.value is not None}

    def difference(source: str) -> float | None:
        tuned, base = values.get((source, "tuned")), values.get((source, "base"))
        return None if tuned is None or base is None else tuned - base

    sign = -1.0 if pair and pair.better == "higher" else 1.0
    measured = [(d, source) for source in sources if (d := difference(source)) is not None]
    ordered = [source for _, source in sorted(measured, key=lambda item: (-sign * item[0], item[1]))]
    rest = [source for source in sources if source not in ordered]
    shown_positions = spread(len(sources), shown)
    rows = tuple(
        Row(
            source,
            {arm: arms[source, arm] for arm in ARMS if (source, arm) in arms},
            {arm: values[source, arm] for arm in ARMS if (source, arm) in values},
            place(n, len(ordered)) if n < len(ordered) else "not ordered: no score",
            difference(source),
            n in shown_positions,
        )
        for n, source in enumerate(ordered + rest)
    )
    return Comparison(label(pair.metric) if pair and ordered else "", pair.better if pair else "neither", rows)


def spread(count: int, wanted: int) -> list[int]:
    """Return at most `wanted` positions spread evenly over 0..count-1, both ends included."""
    if count <= wanted:
        return list(range(count))
    if wanted < 2:
        return [0] * wanted
    return [round(i * (count - 1) / (wanted - 1)) for i in range(wanted)]


def place(position: int, count: int) -> str:
    """Return where a clip stands among `count`, counted from the worst change (position 0)."""
    if count == 1:
        return "the only clip"
    if position == 0:
        return f"worst change of {count}"
    if position == count - 1:
        return f"best change of {count}"
    return f"{position + 1} of {count}, counted from the worst"
