"""Everything the page needs from an evaluation folder, read once."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cinetune.errors import RecordError
from cinetune.records import Evaluated, Result, Score, read_records

REAL, TRAINING = "real", "training"
"""Arms of videos that nobody generated."""


@dataclass(frozen=True)
class Evaluation:
    """An evaluation as `evaluate` left it."""

    folder: Path
    """Where it lies; paths of videos are relative to it."""
    meta: dict[str, Any]
    results: list[Result]
    scores: list[Score]
    videos: list[Evaluated]

    @cached_property
    def arms(self) -> list[str]:
        """The generated arms in the order of the videos, then statistics; those that hold a frame still come last."""
        arms = dict.fromkeys([*(v.arm for v in self.videos if v.arm not in (REAL, TRAINING)), *self.statistics("arms")])
        return sorted(arms, key=lambda arm: arm in self.stills)

    @cached_property
    def stills(self) -> set[str]:
        """The arms that are a first frame held still."""
        return {v.arm for v in self.videos} - {v.arm for v in self.videos if not v.still}

    @cached_property
    def differences(self) -> dict[str, tuple[str, str]]:
        """What results call a difference -> the two arms."""
        pairs = {f"{a} - {b}": (a, b) for a in self.arms for b in self.arms if a != b}
        return {r.arm: pairs[r.arm] for r in self.results if r.arm in pairs}

    @cached_property
    def metrics(self) -> list[str]:
        """Names of the metrics in the order of the results."""
        return list(dict.fromkeys(r.metric for r in self.results))

    @property
    def subject(self) -> str:
        """The arm the evaluation is about: the first that is compared with another, else the first generated one."""
        compared = [a for a, _ in self.differences.values()]
        return next(iter([*compared, *self.arms]), "")

    def title(self, arm: str) -> str:
        """Return an arm as the page calls it."""
        return "held still" if arm in self.stills else arm

    def of_metric(self, metric: str) -> list[Result]:
        """Return the results of one metric."""
        return [r for r in self.results if r.metric == metric]

    @cached_property
    def files(self) -> list[Evaluated]:
        """The videos that are files; a first frame held still is a view of one that is listed already."""
        return [v for v in self.videos if not v.still]

    def statistics(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return what the statistics files are: "arms" by arm, or those in place of the "real" videos by metric."""
        return dict(self.meta.get("statistics", {}).get(kind, {}))

    def measured(self, arm: str) -> int:
        """Return how many videos of an arm could be looked at."""
        return sum(v.arm == arm and not v.problem for v in self.videos)


def read_evaluation(folder: Path) -> Evaluation:
    """Read the records of an evaluation folder.

    Raises:
        RecordError: one of the three files is missing or damaged.
    """
    meta, results = read_results(folder / "results.json")
    return Evaluation(
        folder=folder,
        meta=meta,
        results=results,
        scores=read_records(folder / "scores.jsonl", Score),
        videos=read_records(folder / "videos.jsonl", Evaluated),
    )


def read_results(path: Path) -> tuple[dict[str, Any], list[Result]]:
    """Return what a results.json says about itself, and its results.

    Raises:
        RecordError: no such file, or it is damaged.
    """
    if not path.is_file():
        raise RecordError(f"{path}: no such file; run `cinetune evaluate` first")
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        results = [Result(**fields) for fields in tree["results"]]
        meta = dict(tree.get("meta", {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{path}: not a list of results ({error}); run `cinetune evaluate` again") from None
    known = Result.__dataclass_fields__["schema"].default
    if any(r.schema != known for r in results):
        raise RecordError(f"{path}: results of another schema, this version reads {known}")
    return meta, results
