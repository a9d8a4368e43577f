"""What the results say, in words. Pure: results in, sentences out; nothing is claimed without an interval.

A difference counts when its interval excludes zero; whether it is a gain or a loss is the metric's `better`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cinetune.records import Result
from cinetune.report.numerals import fixed, interval, label, listing, percent, result_decimals


@dataclass(frozen=True)
class Change:
    """One metric of the tuned model against another arm."""

    difference: Result
    tuned: Result | None
    other: Result | None

    @property
    def outcome(self) -> str:
        """Return "better", "worse", "changed" (neither direction is better), "unclear" or "unknown"."""
        d = self.difference
        if d.estimate is None or d.low is None or d.high is None:
            return "unknown"
        if d.low <= 0 <= d.high:
            return "unclear"
        if d.better == "neither":
            return "changed"
        return "better" if (d.estimate < 0) == (d.better == "lower") else "worse"

    @property
    def name(self) -> str:
        """Return the metric as people write it."""
        return label(self.difference.metric)


def changes(results: Sequence[Result], against: str = "base") -> list[Change]:
    """Return the paired differences "tuned - `against`", in the order of the results."""
    arms = {(r.metric, r.arm): r for r in results}
    return [
        Change(r, arms.get((r.metric, "tuned")), arms.get((r.metric, against)))
        for r in results
        if r.arm == f"tuned - {against}"
    ]


def verdict(results: Sequence[Result]) -> str:
    """Return the whole verdict as plain text: the claim, its numbers, and what limits them."""
    return " ".join([claim(results), *evidence(results), *caveats(results)])


def claim(results: Sequence[Result]) -> str:
    """Return one sentence that says what improved, what got worse and what cannot be told."""
    found = changes(results)
    known = [c for c in found if c.outcome != "unknown"]
    unknown = [c.name for c in found if c.outcome == "unknown"] + [label(r.metric) for r in _uncompared(results)]
    if not known:
        return "Whether tuning helped is not known: no difference between the tuned model and the base has an interval."
    where = f"On {known[0].difference.n} held-out clips"
    gains = _phrases(found, "better", "closer to the film", "better")
    losses = _phrases(found, "worse", "further from the film", "worse")
    changed = [c.name for c in found if c.outcome == "changed"]
    unclear = [c.name for c in found if c.outcome == "unclear"]
    if not gains + losses + changed:
        text = f"{where} no clear difference between the tuned model and the base is shown by {listing(unclear)}"
        unclear = []
    elif gains + losses:
        first = (gains or losses)[0]
        first[0] += " than the base"
        parts = [" and ".join(f"{how} by {what}" for how, what in side) for side in (gains, losses) if side]
        text = f"{where} the tuned model is {', but '.join(parts)}"
    else:
        text = f"{where} the tuned model differs from the base"
    if changed:
        text += f"; {listing(changed)} changed, where neither direction is better"
    if unclear:
        text += f"; {listing(unclear)} {'shows' if len(unclear) == 1 else 'show'} no clear difference"
    if unknown:
        text += f"; {listing(unknown)} could not be compared"
    return f"{text}."


def evidence(results: Sequence[Result]) -> list[str]:
    """Return one sentence for each metric: both values, the difference and its interval."""
    still = [c for c in changes(results, "static") if c.outcome != "unknown"][:1]
    sentences = [_numbers(c) for c in changes(results)]
    sentences += [f"{label(r.metric)} was not compared: {_why(r)}." for r in _uncompared(results)]
    sentences += [f"against the first frame held still, {_numbers(c)}" for c in still]
    return [sentence[0].upper() + sentence[1:] for sentence in sentences]


def caveats(results: Sequence[Result]) -> list[str]:
    """Return what a reader must know before quoting the numbers."""
    nano = sorted({label(r.metric) for r in results if "nano" in r.backbone})
    if not nano:
        return []
    return [
        f"{listing(nano)} {'looks' if len(nano) == 1 else 'look'} through nano backbones, this package's own"
        " miniatures: these numbers are not comparable with published ones."
    ]


def _phrases(found: list[Change], outcome: str, to_film: str, alone: str) -> list[list[str]]:
    """[how, which metrics]: metrics that look at the film apart from those of the video alone."""
    hits = [c for c in found if c.outcome == outcome]
    near = [c.name for c in hits if c.difference.kind != "video"]
    rest = [c.name for c in hits if c.difference.kind == "video"]
    return [[how, listing(names)] for how, names in ((to_film, near), (alone, rest)) if names]


def _uncompared(results: Sequence[Result]) -> list[Result]:
    """One result of each metric that has no paired difference at all; its reason says why."""
    compared = {c.difference.metric for c in changes(results)}
    first = {r.metric: r for r in reversed(results) if r.metric not in compared}
    return [first[metric] for metric in dict.fromkeys(r.metric for r in results) if metric in first]


def _why(result: Result) -> str:
    return result.reason or "no reason was recorded"


def _numbers(change: Change) -> str:
    d = change.difference
    if d.estimate is None:
        return f"{change.name} was not measured: {_why(d)}."
    digits = result_decimals(d)
    text = change.name
    if change.tuned and change.other and None not in (change.tuned.estimate, change.other.estimate):
        values = [fixed(r.estimate, digits) for r in (change.other, change.tuned) if r.estimate is not None]
        text += f" {values[0]} -> {values[1]}"
    if d.low is None or d.high is None:
        return f"{text} (difference {fixed(d.estimate, digits)}, no interval: {_why(d)}), so nothing is claimed."
    text += f" (difference {fixed(d.estimate, digits)}, {percent(d.level)} interval {interval(d.low, d.high, digits)})"
    return text + {"unclear": ": no clear difference.", "worse": ": worse."}.get(change.outcome, ".")
