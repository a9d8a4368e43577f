"""Metrics of single videos, by themselves or against all training videos: scores, means over clips, differences."""

from collections.abc import Sequence

import numpy as np

from cinetune.evaluate.estimates import REAL, TRAINING, Estimate, Resampling, Table, differences, too_few
from cinetune.evaluate.features import Seen
from cinetune.metrics._contract import CorpusMetric, Features, ItemMetric, Measured
from cinetune.ops import statistics
from cinetune.records import Score

Means = dict[str, float]
"""Mean score of each source."""


def scores(metric: ItemMetric | CorpusMetric, table: Table) -> list[Score]:
    """Return one score for each video; true continuations have none where they are what is compared with."""
    training = [seen for seen in _training(table) if not isinstance(seen, str)]
    made = []
    for video, seen in zip(table.videos, table.seen, strict=True):
        if video.arm == TRAINING or (metric.kind == "pair" and video.arm == REAL):
            continue
        measured = Measured(None, seen) if isinstance(seen, str) else _measure(metric, seen, training)
        made.append(
            Score(
                metric=metric.name,
                version=metric.version,
                arm=video.arm,
                item=video.id,
                source=video.source,
                value=measured.value,
                unit=metric.unit,
                reason=measured.reason,
            )
        )
    return made


def _measure(metric: ItemMetric | CorpusMetric, seen: Features, training: Sequence[Features]) -> Measured:
    return metric.score(seen, training) if isinstance(metric, CorpusMetric) else metric.score(seen)


def estimates(
    metric: ItemMetric | CorpusMetric, table: Table, scored: Sequence[Score], how: Resampling
) -> list[Estimate]:
    """Return the mean of each arm, the paired differences, and the mean of the real videos (but for "pair" metrics).

    Several samples of one source are averaged first. Intervals are BCa over clusters, p-values from sign flips.
    """
    number = table.numbered()
    cluster_of = {video.source: number[video.cluster] for video in table.videos if video.arm != TRAINING}
    arms = list(dict.fromkeys(score.arm for score in scored))
    means = {arm: _means([s for s in scored if s.arm == arm]) for arm in arms}
    unseen = _unseen(table) if metric.kind == "corpus" else []
    missing = {arm: [s.reason for s in scored if s.arm == arm and s.value is None] for arm in arms}

    def estimate(arm: str, of: Means, left_out: list[str], *, paired: bool) -> Estimate:
        values = np.array(list(of.values()), np.float64)
        clusters = np.array([cluster_of[source] for source in of], np.int64)
        groups = len(np.unique(clusters))
        reasons = [f"{len(left_out)} left out: {left_out[0]}"] if left_out else []
        reasons += unseen
        low = high = p_value = None
        if groups >= metric.least:
            low, high = statistics.bootstrap_mean(
                values, level=how.level, resamples=how.resamples, seed=how.seed, clusters=clusters
            )
        elif groups:
            reasons.append(too_few(groups, metric))
        if paired and groups >= 2:
            p_value = statistics.mean_swap_test(values, permutations=how.resamples, seed=how.seed, clusters=clusters)
        value = float(values.mean()) if groups else None
        return Estimate(arm, len(values), value, low, high, p_value, tuple(reasons))

    made = [estimate(arm, means[arm], missing[arm], paired=False) for arm in arms if arm != REAL]
    for a, b in differences([arm for arm in arms if arm != REAL], metric.kind):
        shared = [source for source in means[a] if source in means[b]]
        alone = ["measured in one of the two arms only"] * len(set(means[a]) ^ set(means[b]))
        difference = {source: means[a][source] - means[b][source] for source in shared}
        made.append(estimate(f"{a} - {b}", difference, missing[a] + missing[b] or alone, paired=True))
    if REAL in means:
        made.append(estimate(REAL, means[REAL], missing[REAL], paired=False))
    return made


def _means(scored: Sequence[Score]) -> Means:
    values: dict[str, list[float]] = {}
    for score in scored:
        if score.value is not None:
            values.setdefault(score.source, []).append(score.value)
    return {source: float(np.mean(some)) for source, some in values.items()}


def _training(table: Table) -> list[Seen]:
    return [table.seen[i] for i, video in enumerate(table.videos) if video.arm == TRAINING]


def _unseen(table: Table) -> list[str]:
    """What keeps training videos from being compared with, if anything."""
    training = _training(table)
    reasons = [seen for seen in training if isinstance(seen, str)]
    return [f"{len(reasons)} of {len(training)} training videos not compared with: {reasons[0]}"] if reasons else []
