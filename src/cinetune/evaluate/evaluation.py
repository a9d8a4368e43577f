"""What an evaluation leaves: its results, what became of every video, and where the time went."""

import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cinetune import __version__
from cinetune.evaluate.estimates import TRAINING
from cinetune.evaluate.features import Found, Video
from cinetune.evaluate.moments import UNSTATED, Statistics
from cinetune.files import write_text
from cinetune.footage.any_video import shown
from cinetune.metrics._contract import Metric
from cinetune.metrics.backbones._contract import Eye
from cinetune.recipe import Evaluate
from cinetune.records import Evaluated, Result


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation."""

    results: list[Result]
    videos: list[Evaluated]
    short: list[str]
    """One line for each video that was measured, but has too few frames for some metrics."""
    seconds: Mapping[str, float]
    """Spent on "hashing", "decoding", each network by name, "pixels" (looks without one) and "statistics"; those of
    workers side by side add up."""

    @property
    def broken(self) -> list[str]:
        """One line for each video that could not be measured at all, each file once."""
        return list(dict.fromkeys(video.problem for video in self.videos if video.problem))

    @property
    def whole(self) -> bool:
        """Whether no video was left out of anything because of what it is."""
        return not self.broken and not self.short

    def told(self) -> str:
        """Return where the time and the memory went, in one line."""
        total = sum(self.seconds.values())
        parts = [f"{what} {share:.0%}" for what, s in self.seconds.items() if (share := s / max(total, 1e-9)) >= 0.005]
        peak = peak_memory()
        memory = f"; peak memory {peak / 2**30:.2f} GiB" if peak else ""
        return f"time: {', '.join(parts)} of {total:.1f} s of work{memory}"


def to_records(videos: Sequence[Video], found: Sequence[Found], folder: Path) -> list[Evaluated]:
    """Return one record a video; `folder` is that of the record file."""
    return [
        Evaluated(
            id=video.id,
            arm=video.arm,
            source=video.source,
            video=_from(folder, video.path),
            reference=_from(folder, video.reference) if video.reference else "",
            caption=video.caption,
            frames=became.size[0],
            height=became.size[1],
            width=became.size[2],
            still=video.still,
            problem=became.problem,
        )
        for video, became in zip(videos, found, strict=True)
    ]


def write_results(
    path: Path,
    results: Sequence[Result],
    videos: Sequence[Video],
    metrics: Sequence[Metric],
    eyes: Mapping[str, Eye],
    section: Evaluate,
    seed: int,
    environment: Mapping[str, str] | None = None,
    statistics: Statistics = UNSTATED,
) -> None:
    """Write one JSON object: `results`, and in `meta` all that is needed to know what they mean and to repeat them."""
    meta: dict[str, object] = {
        "cinetune": __version__,
        "seed": seed,
        "evaluate": section.model_dump(mode="json"),
        "backbones": {role: dataclasses.asdict(eye.identity) for role, eye in eyes.items()},
        "sources": {metric.name: metric.source for metric in metrics},
    }
    clusters = {video.source: video.cluster for video in videos if video.arm != TRAINING}
    if any(source != cluster for source, cluster in clusters.items()):
        meta["clusters"] = clusters
    if told := statistics.facts():
        meta["statistics"] = told
    if environment:
        meta["environment"] = dict(environment)
    tree = {"schema": 1, "meta": meta, "results": [dataclasses.asdict(result) for result in results]}
    write_text(path, json.dumps(tree, ensure_ascii=False, indent=1) + "\n")


def peak_memory() -> int | None:
    """Return the most bytes of memory this process ever held; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _from(folder: Path, path: Path) -> str:
    """Return a path relative to `folder` where it lies below it or beside it, so that both can move together."""
    whole, here = Path(os.path.abspath(path)), Path(os.path.abspath(folder))  # noqa: PTH100 - links stay links
    if whole.is_relative_to(here.parent) and here.parent != Path(here.anchor):
        return shown(Path(os.path.relpath(whole, here)).as_posix())
    return shown(whole.as_posix())
