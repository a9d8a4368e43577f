"""How many clips would show a difference of a given size: planned from the spread of an evaluation that was made."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import t

from cinetune.errors import MetricError, RecordError
from cinetune.evaluate.estimates import REAL, STATIC
from cinetune.ops import power as ops
from cinetune.records import Result, Score, read_records

TWO_SETS = "no second arm in the pilot: for two arms on clips of their own, each; on the same clips fewer do"
FROM_INTERVAL = "from the width of the pilot's interval, taken to shrink as 1 / sqrt(n)"


@dataclass(frozen=True)
class Need:
    """How many independent clips a metric needs to show a difference."""

    metric: str
    arm: str
    """Whose spread it is: "tuned - base", or an arm where nothing is compared."""
    unit: str
    difference: float
    """To be seen, in the unit of the metric."""
    clips: int | None
    """Independent clips (scenes, where these are known); None with a reason."""
    low: int | None
    high: int | None
    """The same for the ends of the interval of the pilot's spread; None where that is more than anybody counts."""
    pilot: int
    """Independent clips of the pilot."""
    visible: float | None
    """The difference that as many clips as in the pilot show."""
    reason: str = ""


def plan(folder: Path, difference: float, *, power: float = 0.8, level: float = 0.95) -> list[Need]:
    """Return the clips that every metric of an evaluation needs to show a difference.

    Metrics of single videos: from the spread of the paired differences of clips. Metrics of sets: from the width of
    their interval. Clips of one scene count as one where results.json names the scenes (`meta.clusters`).

    Args:
        folder: holds results.json and scores.jsonl of an evaluation, the pilot.
        difference: to be seen, in the unit of each metric, above 0.
        power: the chance to see it where it is there, above 1 - level and below 1.
        level: 1 - the chance to see one where there is none.

    Raises:
        MetricError: a number out of range, or the pilot has no arm.
        RecordError: a file is missing or damaged.
    """
    if not difference > 0:
        raise MetricError(f"to plan for a difference of {difference:g}: give one above 0, in the metric's unit")
    if not 1 - level < power < 1:
        raise MetricError(f"to plan for a power of {power:g}: give one between {1 - level:.2g} and 1")
    results, clusters = _read(folder / "results.json")
    scores = read_records(folder / "scores.jsonl", Score)
    made = []
    for metric in dict.fromkeys(result.metric for result in results):
        own = [result for result in results if result.metric == metric and result.arm != REAL]
        pairs = {result.arm: _pair(result.arm, own) for result in own}
        compared = [result for result in own if pairs[result.arm]]
        for result in compared or [result for result in own if result.arm != STATIC]:
            pair = pairs[result.arm]
            if result.kind == "set":
                spread, n, reason = _of_interval(result, clusters)
            else:
                of = [score for score in scores if score.metric == metric]
                spread, n, reason = _of_scores(of, pair or (result.arm,), clusters)
            if not pair and spread > 0:
                spread, reason = spread * sqrt(2), "; ".join(filter(None, [reason, TWO_SETS]))
            made.append(_need(result, spread, n, reason, difference, power, level))
    if not made:
        raise MetricError(f"{folder}: this evaluation has no arm to plan from; evaluate some videos first")
    return made


def print_plan(needs: Sequence[Need], console: Console) -> None:
    """Print one row for each metric and difference, then the notes that the rows refer to."""
    table = Table(box=None, pad_edge=False)
    for column in ("metric", "arm"):
        table.add_column(column)
    for column in ("difference", "clips", "range", "pilot", "pilot shows", "note"):
        table.add_column(column, justify="right")
    notes: list[str] = []
    for need in needs:
        if need.reason and need.reason not in notes:
            notes.append(need.reason)
        table.add_row(
            f"{need.metric} ({need.unit})",
            need.arm,
            f"{need.difference:g}",
            "none" if need.clips is None else str(need.clips),
            "" if need.low is None else f"{need.low} .. {'more' if need.high is None else need.high}",
            str(need.pilot),
            "" if need.visible is None else f"{need.visible:.3g}",
            f"[{notes.index(need.reason) + 1}]" if need.reason else "",
        )
    console.print(table, markup=False)
    console.print("clips: independent ones; range: by how well the pilot knows the spread", style="dim")
    for number, note in enumerate(notes, start=1):
        console.print(f"[{number}] {note}", style="dim", markup=False)


def _need(result: Result, spread: float, n: int, reason: str, difference: float, power: float, level: float) -> Need:
    clips = low = high = shown = None
    if spread > 0:
        shown = ops.visible(n, power_wanted=power, level=level) * spread
        ends = ops.spread_range(spread, n, level=level)
        low, clips, high = (
            ops.needed(difference / some, power_wanted=power, level=level) for some in (ends[0], spread, ends[1])
        )
        if clips is None:
            reason = "; ".join(filter(None, [reason, f"more than {ops.MOST:,} clips"]))
    elif n >= 2:
        reason = "the pilot has no spread: all its numbers are equal"
    return Need(result.metric, result.arm, result.unit, difference, clips, low, high, n, shown, reason)


def _pair(name: str, results: Sequence[Result]) -> tuple[str, str] | None:
    """The arms of "a - b"."""
    arms = [result.arm for result in results]
    return next(((a, b) for a in arms for b in arms if name == f"{a} - {b}"), None)


def _of_scores(scores: Sequence[Score], arms: Sequence[str], clusters: Mapping[str, str]) -> tuple[float, int, str]:
    """Standard deviation over clusters of an arm, or of the paired difference of two; clusters; what to know."""
    means = []
    for arm in arms:
        values: dict[str, list[float]] = {}
        for score in scores:
            if score.arm == arm and score.value is not None:
                values.setdefault(score.source, []).append(score.value)
        means.append({source: float(np.mean(some)) for source, some in values.items()})
    shared = [source for source in means[0] if source in means[-1]]
    grouped: dict[str, list[float]] = {}
    for source in shared:
        value = means[0][source] - (means[1][source] if len(means) == 2 else 0)
        grouped.setdefault(clusters.get(source, source), []).append(value)
    of_clusters = [float(np.mean(some)) for some in grouped.values()]
    if len(of_clusters) < 2:
        return 0.0, len(of_clusters), "a spread needs two independent clips in the pilot"
    return float(np.std(of_clusters, ddof=1)), len(of_clusters), ""


def _of_interval(result: Result, clusters: Mapping[str, str]) -> tuple[float, int, str]:
    """Standard error of a number of sets, times sqrt(n)."""
    n = min(result.n, len(set(clusters.values()))) if clusters else result.n
    if result.low is None or result.high is None:
        return 0.0, 0, f"the pilot has no interval: {result.reason}"
    error = (result.high - result.low) / 2 / float(t.ppf((1 + result.level) / 2, max(n - 1, 1)))
    return error * sqrt(n), n, FROM_INTERVAL


def _read(path: Path) -> tuple[list[Result], dict[str, str]]:
    """The results of an evaluation, and what each source belongs to where that is said."""
    try:
        tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return [Result(**result) for result in tree["results"]], dict(tree["meta"].get("clusters", {}))
    except FileNotFoundError:
        raise RecordError(f"{path}: no such file; evaluate first, with an output folder") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise RecordError(f"{path}: not the results of an evaluation; delete the file and evaluate again") from None
