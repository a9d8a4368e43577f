"""What was measured, what can be claimed from it and what cannot, in words. Pure: records in, sentences out.

A difference is claimed when its interval excludes zero and its p-value still holds after Holm's correction over all
differences of the evaluation. Everything else is listed with the reason why it is not claimed.
"""

from collections import Counter
from dataclasses import dataclass

from cinetune.records import Result
from cinetune.report.evaluation_files import REAL, Evaluation
from cinetune.report.numerals import fixed, interval, label, listing, p_text, percent, result_decimals
from cinetune.report.verdict import caveats

FEW = 6
"""Metrics that a sentence names; of more it gives the number."""


@dataclass(frozen=True)
class Claims:
    """Two lists of sentences."""

    can: list[str]
    cannot: list[str]


def outcome(difference: Result) -> str:
    """Return "better", "worse", "changed" (no direction is better), "unclear", "uncorrected" or "unknown"."""
    d = difference
    if d.estimate is None or d.low is None or d.high is None:
        return "unknown"
    if d.low <= 0 <= d.high:
        return "unclear"
    if d.p_holm is None or d.p_holm > 1 - d.level:
        return "uncorrected"
    if d.better == "neither":
        return "changed"
    return "better" if (d.estimate < 0) == (d.better == "lower") else "worse"


def headline(e: Evaluation) -> str:
    """Return who was measured against what, in a few words."""
    against = _against(e)
    if e.statistics("arms"):
        return f"{listing([f'{arm} ({_size(e, arm)})' for arm in e.arms])}{against}"
    arms = [arm for arm in e.arms if arm not in e.stills] or e.arms
    counts = {arm: e.measured(arm) for arm in arms}
    if not counts:
        return "No generated video was measured"
    if len(counts) > 1 and len(set(counts.values())) == 1:
        return f"{listing(list(counts))}: {_videos(counts[arms[0]])} each{against}"
    if len(counts) == 1:
        return f"{arms[0]}: {_videos(counts[arms[0]])}{against}"
    first, *rest = [f"{arm} ({_videos(n) if arm == arms[0] else n})" for arm, n in counts.items()]
    return f"{listing([first, *rest])}{against}"


def measured(e: Evaluation) -> str:
    """Return one sentence: arms, n, metrics, weights, and how many videos were left out."""
    arms = [f"{e.title(arm)} ({_size(e, arm)})" for arm in e.arms]
    names = [label(metric) for metric in e.metrics]
    if not names:
        return "No metric was asked for, so nothing was measured."
    backbones = list(dict.fromkeys(_network(r) for r in e.results if r.backbone))
    through = f", looking through {listing(backbones)}" if backbones else ""
    out = sum(bool(v.problem) for v in e.files)
    left = f"; {out} of {len(e.files)} videos {'was' if out == 1 else 'were'} left out" if out else ""
    subject = listing(arms) or "Nothing"
    verb = "was" if len(arms) < 2 else "were"
    return f"{subject} {verb} measured{_against(e)} by {listing(names)}{through}{left}."


def claims(e: Evaluation) -> Claims:
    """Return what the results support and what they do not."""
    can: list[str] = []
    cannot: list[str] = []
    for name, (a, b) in e.differences.items():
        mine = [r for r in e.results if r.arm == name]
        can += [_difference(e, r, a, b) for r in mine if outcome(r) in ("better", "worse", "changed")]
        cannot += _unclaimed(mine, f"{e.title(a)} against {e.title(b)}")
    if not e.differences:
        for r in e.results:
            if r.kind == "set" and r.arm in e.arms:
                sentence, holds = _against_floor(e, r)
                (can if holds else cannot).append(sentence)
        if len(e.arms) - len(e.stills) < 2:
            cannot.append("One set of videos was measured, so there is no other to be better or worse than.")
        else:
            cannot.append("No differences between the sets were computed.")
    cannot += [s for r in e.results if r.kind == "pair" and (s := _beaten_by_stillness(e, r))]
    missing = [r for r in e.results if r.estimate is None and r.arm not in e.differences and r.arm != REAL]
    cannot += [f"{label(r.metric)} of {e.title(r.arm)} is not known: {_why(r)}." for r in missing]
    return Claims(can, [*_weights(e), *_the_same(e), *cannot])


def _weights(e: Evaluation) -> list[str]:
    """Say which numbers come from random weights or from miniatures; of many metrics, how many."""
    random = list(dict.fromkeys(label(r.metric) for r in e.results if _network(r).endswith(" random")))
    if random:
        return [f"{listing(random)} went through networks of random weights, which is for timing: they mean nothing."]
    mine = {r.metric for r in e.results if "nano" in r.backbone}
    if len(mine) <= FEW:
        return caveats(e.results)
    return [
        f"{len(mine)} of {len(e.metrics)} metrics look through nano backbones, this package's own miniatures:"
        " their numbers are not comparable with published ones."
    ]


def _the_same(e: Evaluation) -> list[str]:
    """Say which metrics are one number under several names, as where one miniature stands for several networks."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for metric in e.metrics:
        mine = e.of_metric(metric)
        known = tuple((r.arm, r.estimate, r.backbone) for r in mine if r.estimate is not None)
        if known and mine[0].backbone:
            groups.setdefault(known, []).append(label(metric))
    return [
        f"{listing(names)} look through the same network here and are one number: one finding, not {len(names)}."
        for names in groups.values()
        if len(names) > 1
    ]


def _difference(e: Evaluation, d: Result, a: str, b: str) -> str:
    digits = result_decimals(d)
    assert d.estimate is not None
    assert d.low is not None
    assert d.high is not None
    how = {
        "better": f"{e.title(a)} is better than {e.title(b)} by {label(d.metric)}",
        "worse": f"{e.title(a)} is worse than {e.title(b)} by {label(d.metric)}",
        "changed": f"{e.title(a)} and {e.title(b)} differ in {label(d.metric)}, where neither direction is better",
    }[outcome(d)]
    return (
        f"{how}: difference {_signed(d.estimate, digits)}, {percent(d.level)} interval"
        f" {interval(d.low, d.high, digits)}, p {_equals(d.p_holm)} after Holm."
    )


def _unclaimed(differences: list[Result], what: str) -> list[str]:
    """One sentence a reason, so that a long list of metrics stays readable."""
    by = {name: [r for r in differences if outcome(r) == name] for name in ("unclear", "uncorrected", "unknown")}
    sentences = []
    if by["unclear"]:
        names = listing([label(r.metric) for r in by["unclear"]])
        verb = "the interval includes" if len(by["unclear"]) == 1 else "the intervals include"
        sentences.append(f"{what}: no clear difference by {names}; {verb} zero.")
    tested = [r.p_holm for r in by["uncorrected"] if r.p_holm is not None]
    if by["uncorrected"]:
        names = listing([label(r.metric) for r in by["uncorrected"]])
        verb = "the interval excludes" if len(by["uncorrected"]) == 1 else "the intervals exclude"
        why = f"p does not hold after Holm's correction ({_least(tested)})" if tested else "there is no p-value"
        sentences.append(f"{what}: by {names} {verb} zero, but {why}.")
    for reason, n in Counter(_why(r) for r in by["unknown"]).items():
        names = listing([label(r.metric) for r in by["unknown"] if _why(r) == reason])
        sentences.append(f"{what}: {names} {'is' if n == 1 else 'are'} not compared: {reason}.")
    return sentences


def _against_floor(e: Evaluation, r: Result) -> tuple[str, bool]:
    """The distance of one arm beside that of real videos from each other, and whether it lies clear of it."""
    floor = next((f for f in e.of_metric(r.metric) if f.arm == REAL), None)
    name = f"{label(r.metric)} of {e.title(r.arm)}"
    if r.estimate is None:
        return f"{name}: no number, so no claim.", False
    digits = result_decimals(r)
    own = f"{name} is {fixed(r.estimate, digits)}"
    if r.low is None or r.high is None:
        return f"{own} without an interval: {_why(r)}.", False
    own += f" ({percent(r.level)} interval {interval(r.low, r.high, digits)})"
    if floor is None or floor.estimate is None or floor.low is None or floor.high is None:
        return f"{own}; how far real videos are from each other is not known.", False
    real = f"real videos from each other {fixed(floor.estimate, digits)} ({interval(floor.low, floor.high, digits)})"
    apart = r.low > floor.high if r.better == "lower" else r.high < floor.low
    if apart:
        return f"{own}, {real}: further from the real videos than these are from each other.", True
    return f"{own}, {real}: not told apart from real videos.", False


def _beaten_by_stillness(e: Evaluation, r: Result) -> str:
    """Say where copying the first frame scores at least as well as an arm does."""
    if r.arm not in e.arms or r.arm in e.stills or r.estimate is None or r.better == "neither":
        return ""
    still = next((s for s in e.of_metric(r.metric) if s.arm in e.stills and s.estimate is not None), None)
    if still is None or still.estimate is None:
        return ""
    if (still.estimate > r.estimate) if r.better == "lower" else (still.estimate < r.estimate):
        return ""
    digits = max(result_decimals(r), result_decimals(still))
    return (
        f"By {label(r.metric)} the first frame held still ({fixed(still.estimate, digits)}) does as well as {r.arm}"
        f" ({fixed(r.estimate, digits)}) or better: here this number says nothing about motion."
    )


def _network(result: Result) -> str:
    """Return the name of the network alone: "nano_lpips 1 (sha256 ...)" -> "nano_lpips"."""
    return result.backbone.partition(" (")[0].rpartition(" ")[0]


def _against(e: Evaluation) -> str:
    """Return " against ...": the real videos, the statistics files that stand for them, or both; "" for neither."""
    real = e.measured(REAL)
    files = dict.fromkeys(f"statistics {one['file']}" for one in e.statistics("real").values())
    what = [*([_videos(real, "real ")] if real else []), *files]
    return f" against {listing(what)}" if what else ""


def _size(e: Evaluation, arm: str) -> str:
    """Return how many videos an arm has, or the statistics file that stands for them."""
    files = e.statistics("arms")
    return f"statistics {files[arm]['file']}" if arm in files else _videos(e.measured(arm))


def _videos(count: int, kind: str = "") -> str:
    return f"{count} {kind}video{'' if count == 1 else 's'}"


def _equals(p_value: float | None) -> str:
    text = p_text(p_value)
    return text if text.startswith("<") else f"= {text}"


def _least(p_values: list[float]) -> str:
    return f"{'smallest ' if len(p_values) > 1 else ''}{p_text(min(p_values))}"


def _signed(value: float, digits: int) -> str:
    text = fixed(value, digits)
    return text if text.startswith("-") else f"+{text}"


def _why(result: Result) -> str:
    return result.reason or "no reason was recorded"
