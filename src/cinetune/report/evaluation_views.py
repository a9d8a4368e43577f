"""Video by video: for each metric that scores single videos its distribution, its pairs, its worst and best videos."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cinetune.records import Result, Score
from cinetune.report.evaluation_files import REAL, Evaluation
from cinetune.report.evaluation_media import EvaluationMedia, Playable
from cinetune.report.evaluation_plots import change_words, distribution_svg, slopes_svg
from cinetune.report.media import Video
from cinetune.report.numerals import fixed, label, result_decimals
from cinetune.report.table import DIRECTIONS
from cinetune.report.takes import Tile

ENDS = 3
"""Videos shown from the worst end, and as many from the best."""
NTH = {1: "", 2: "2nd ", 3: "3rd "}
BESIDE = 2
"""Other arms shown beside the ranked video and its reference."""
Step = Callable[[str], None]


@dataclass(frozen=True)
class Ranked:
    """One ranked video with what belongs beside it."""

    place: str
    caption: str
    item: str
    values: str
    """Its score and those of the other arms."""
    tiles: tuple[Tile, ...]
    problems: tuple[str, ...]
    """Why something is not shown."""
    frames: int
    fps: float
    """Of the tile that leads."""


@dataclass(frozen=True)
class View:
    """One metric."""

    metric: str
    name: str
    direction: str
    sided: bool
    """One direction is better."""
    unit: str
    distribution: str
    slopes: str
    pairs: str
    """What the slopes show, in words; "" without slopes."""
    order: str
    """Which videos are shown and how they were chosen."""
    missing: str
    """How many videos have no score, and why; "" where all have one."""
    ranked: tuple[Ranked, ...]


def chosen(scores: Sequence[Score], better: str) -> list[tuple[Score, str]]:
    """Return the scores at both ends with their places in words, worst first.

    Ties stand in the order of their names. With no better side the lowest come first.
    """
    valued = [s for s in scores if s.value is not None]
    sign = -1.0 if better == "lower" else 1.0
    ordered = sorted(valued, key=lambda s: (sign * (s.value or 0.0), s.item))
    bad, good = ("lowest", "highest") if better == "neither" else ("worst", "best")
    n = len(ordered)
    named = []
    for i in sorted({*range(min(ENDS, n)), *range(max(0, n - ENDS), n)}):
        rank, end = (i + 1, bad) if i < n - i else (n - i, good)
        named.append((ordered[i], f"{NTH[rank]}{end} of {n}"))
    return named


def views(e: Evaluation, media: EvaluationMedia, step: Step) -> list[View]:
    """Write the media of every view and return the views in the order of the metrics."""
    item_metrics = [m for m in e.metrics if any(s.metric == m for s in e.scores)]
    return [_view(e, m, media, step) for m in item_metrics]


def clips_shown(e: Evaluation) -> int:
    """Return how many ranked videos `views` goes through."""
    metrics = {s.metric for s in e.scores}
    better = {r.metric: r.better for r in e.results}
    return sum(len(chosen(_of_subject(e, m), better[m])) for m in e.metrics if m in metrics)


def _of_subject(e: Evaluation, metric: str) -> list[Score]:
    return [s for s in e.scores if s.metric == metric and s.arm == e.subject]


def _view(e: Evaluation, metric: str, media: EvaluationMedia, step: Step) -> View:
    results = e.of_metric(metric)
    first = results[0]
    scores = [s for s in e.scores if s.metric == metric]
    order = [*e.arms, REAL]
    scores.sort(key=lambda s: order.index(s.arm) if s.arm in order else len(order))
    arms: dict[str, list[float]] = {}
    for s in scores:
        if s.value is not None:
            arms.setdefault(_title(e, s.arm), []).append(s.value)
    pairs, titles = _pairs(e, scores)
    subject, number = e.title(e.subject), e.metrics.index(metric)
    axis = f"{label(metric)}, {first.unit}"
    ranked = []
    for score, place in chosen(_of_subject(e, metric), first.better):
        ranked.append(_ranked(e, score, place, scores, media))
        step(score.item)
    return View(
        metric=metric,
        name=label(metric),
        direction=DIRECTIONS[first.better],
        sided=first.better != "neither",
        unit=first.unit,
        distribution=distribution_svg(f"spread-{number}", arms, subject, _means(e, results), axis),
        slopes=slopes_svg(f"slopes-{number}", pairs, titles, first.better, axis),
        pairs=f"{titles[0]} to {titles[1]}, {len(pairs)} pairs: {change_words(pairs, first.better)}" if pairs else "",
        order=_order_words(subject, len(arms.get(subject, [])), first.better),
        missing=_missing(scores),
        ranked=tuple(ranked),
    )


def _order_words(subject: str, count: int, better: str) -> str:
    low, high = ("lowest", "highest") if better == "neither" else ("worst", "best")
    if not count:
        return f"No video of {subject or 'any arm'} has a score."
    if count <= 2 * ENDS:
        return f"All {count} scored videos of {subject}, {low} first."
    return f"The {ENDS} {low} and {ENDS} {high} of {count} videos of {subject}, chosen by the score alone."


def _title(e: Evaluation, arm: str) -> str:
    return "real videos" if arm == REAL else e.title(arm)


def _means(e: Evaluation, results: Sequence[Result]) -> dict[str, tuple[float, float, float]]:
    return {
        _title(e, r.arm): (r.low, r.estimate, r.high)
        for r in results
        if r.low is not None and r.estimate is not None and r.high is not None and r.kind != "set"
    }


def _pairs(e: Evaluation, scores: Sequence[Score]) -> tuple[list[tuple[float, float]], tuple[str, str]]:
    """Scores of the sources that the subject shares with the arm it is compared with, mean over several samples."""
    other = next((b for a, b in e.differences.values() if a == e.subject), "")
    other = other or next((arm for arm in e.arms if arm != e.subject), "")
    by: dict[str, dict[str, list[float]]] = {e.subject: {}, other: {}}
    for s in scores:
        if s.arm in by and s.value is not None:
            by[s.arm].setdefault(s.source, []).append(s.value)
    shared = [source for source in by[e.subject] if source in by[other]] if other else []
    mean = {arm: {source: sum(v) / len(v) for source, v in of.items()} for arm, of in by.items()}
    return [(mean[other][s], mean[e.subject][s]) for s in shared], (e.title(other), e.title(e.subject))


def _missing(scores: Sequence[Score]) -> str:
    reasons: dict[str, int] = {}
    for s in scores:
        if s.value is None:
            reasons[s.reason] = reasons.get(s.reason, 0) + 1
    return "; ".join(f"{n} without a score: {reason}" for reason, n in reasons.items())


def _ranked(e: Evaluation, score: Score, place: str, scores: Sequence[Score], media: EvaluationMedia) -> Ranked:
    """The ranked video, its reference before it, and the same source in other arms after it."""
    own = next((v for v in e.videos if (v.arm, v.id) == (score.arm, score.item)), None)
    others: dict[str, Score] = {}
    for s in scores:
        if s.source == score.source and s.arm in e.arms and s.arm != score.arm:
            others.setdefault(s.arm, s)
    results = e.of_metric(score.metric)
    digits = max(result_decimals(r) for r in results)
    paired = results[0].kind == "pair"
    values = [f"{e.title(s.arm)} {_number(s, digits)}" for s in (score, *others.values())]
    tiles: list[Tile] = []
    problems: list[str] = []

    def add(role: str, title: str, path: str, still: bool, value: str) -> None:
        pace = (e.folder / own.video).resolve() if own and paired else None
        made = media.video((e.folder / path).resolve(), still=still, as_fast_as=pace)
        if isinstance(made, str):
            problems.append(f"{title}: {made}")
            return
        alt = f"{score.source}, {title}" + (f": {own.caption}" if own and own.caption else "")
        tiles.append(Tile(role, title, alt, made.video, value))
        problems.extend(_cut(title, made))

    if own is None:
        problems.append(f"{score.item} is not in videos.jsonl, so it cannot be shown")
    else:
        if own.reference:
            add("truth", "reference", own.reference, False, "")
        add("tuned", e.title(own.arm), own.video, own.still, _number(score, digits))
    beside = [arm for arm in others if arm not in e.stills][:BESIDE]
    for arm in beside:
        s = others[arm]
        video = next((v for v in e.videos if (v.arm, v.id) == (arm, s.item)), None)
        if video:
            add("base", e.title(arm), video.video, video.still, _number(s, digits))
    lead = next((t.media for t in tiles if isinstance(t.media, Video)), None)
    return Ranked(
        place=place,
        caption=own.caption if own else "",
        item=score.item,
        values=f"{label(score.metric)}: {', '.join(values)}",
        tiles=tuple(tiles),
        problems=tuple(problems),
        frames=lead.frames if lead else 0,
        fps=lead.fps if lead else 0.0,
    )


def _cut(title: str, made: Playable) -> list[str]:
    return [f"{title}: only the first {made.video.frames} frames are shown"] if made.cut else []


def _number(score: Score, digits: int) -> str:
    return "none" if score.value is None else fixed(score.value, digits)


@dataclass(frozen=True)
class LeftOut:
    """One file that could not be measured."""

    name: str
    arms: str
    reason: str


def left_out(e: Evaluation) -> list[LeftOut]:
    """Return the files that could not be measured, each once; no path of this machine stands in the reason."""
    arms: dict[tuple[str, str], dict[str, None]] = {}
    for v in e.videos:
        if v.problem:
            arms.setdefault((v.video, v.problem), {})[e.title(v.arm)] = None
    return [LeftOut(Path(v).name, ", ".join(of), _without_path(why, Path(v).name)) for (v, why), of in arms.items()]


def _without_path(problem: str, name: str) -> str:
    """Return a problem without the path it begins with; of a picture in a sequence, its name is kept."""
    path, colon, reason = problem.partition(": ")
    parts = Path(path).parts
    if not colon or name not in parts:
        return problem
    inside = parts[len(parts) - parts[::-1].index(name) :]
    return f"{'/'.join(inside)}: {reason}" if inside else reason
