"""Everything the page needs from a run folder, read once; a missing stage is an error that names its command."""

import json
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from cinetune.errors import RecordError, RunError
from cinetune.records import Clip, Result, Sample, Score, Shot, read_records
from cinetune.report.evaluation_files import read_results

STAGES = {
    "recipe.json": "cinetune run FILM... --out {run}",
    "footage/shots.jsonl": "cinetune prepare FILM... --out {run}",
    "footage/clips.jsonl": "cinetune prepare FILM... --out {run}",
    "train/summary.json": "cinetune train {run}",
    "generate/samples.jsonl": "cinetune generate {run}",
    "evaluate/results.json": "cinetune evaluate {run}",
    "evaluate/scores.jsonl": "cinetune evaluate {run}",
}
"""Files without which there is no page, and the command that writes each."""


@dataclass(frozen=True)
class Validation:
    """One validation of the training. A number that was not computable is None."""

    step: int
    value: float | None
    """The metric that decides; mean over the clips."""
    low: float | None
    high: float | None
    static: float | None
    base: float | None
    loss: float | None
    """Flow loss on held-out clips."""
    best: bool
    clips: int
    metric: str = "lpips"
    better: str = "lower"
    levels: Sequence[float] = ()
    """Noise levels of the flow loss; a run of before has none, nor any of what follows."""
    losses: Sequence[float] = ()
    base_losses: Sequence[float] = ()
    """Held-out flow loss at each of them, now and of the base."""
    base_loss: float | None = None
    training_loss: float | None = None
    base_training_loss: float | None = None
    """The same of training clips, mean."""
    memorising: str = ""
    """What was said of learning by heart."""


@dataclass(frozen=True)
class RunFiles:
    """A run as its stages left it."""

    folder: Path
    """Where the run lies; nothing of it stands on the page."""
    recipe: dict[str, Any]
    environment: dict[str, Any]
    """Empty when the run recorded none."""
    shots: list[Shot]
    clips: list[Clip]
    log: list[dict[str, Any]]
    """One object per training step; keys "step", "loss", "lr", "seconds"."""
    validations: list[Validation]
    training: dict[str, Any]
    """train/summary.json."""
    samples: list[Sample]
    showcase: list[Sample]
    results: list[Result]
    scores: list[Score]

    def clip(self, source: str) -> Clip | None:
        """Return the clip a sample was made from, or None for a storyboard shot."""
        return next((c for c in self.clips if c.id == source), None)


def read_run(folder: Path) -> RunFiles:
    """Read the records of a run folder.

    Raises:
        RunError: not a run folder, or a stage has not been carried out.
        RecordError: a record file is damaged.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such run folder; `cinetune run FILM... --out {folder}` makes one")
    for name, command in STAGES.items():
        if not (folder / name).is_file():
            raise RunError(f"{folder}: {name} is missing; run `{command.format(run=folder)}` first")
    showcase = folder / "generate" / "shots.jsonl"
    environment = folder / "environment.json"
    validations = _lines(folder / "train" / "validations.jsonl")
    return RunFiles(
        folder=folder,
        recipe=_object(folder / "recipe.json"),
        environment=_object(environment) if environment.is_file() else {},
        shots=read_records(folder / "footage" / "shots.jsonl", Shot),
        clips=read_records(folder / "footage" / "clips.jsonl", Clip),
        log=_lines(folder / "train" / "log.jsonl"),
        validations=[_validation(folder, line) for line in validations],
        training=_object(folder / "train" / "summary.json"),
        samples=read_records(folder / "generate" / "samples.jsonl", Sample),
        showcase=read_records(showcase, Sample) if showcase.is_file() else [],
        results=read_results(folder / "evaluate" / "results.json")[1],
        scores=read_records(folder / "evaluate" / "scores.jsonl", Score),
    )


def _object(path: Path) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise RecordError(f"{path}: not JSON; delete the file and run its stage again") from None
    if not isinstance(tree, dict):
        raise RecordError(f"{path}: not a JSON object; delete the file and run its stage again")
    return tree


def _lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file by step, each step once: a resumed run may have written a step again."""
    if not path.is_file():
        return []
    by_step = {}
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            line = json.loads(text)
            by_step[int(line["step"])] = line
        except (ValueError, KeyError, TypeError):
            raise RecordError(f"{path}:{number}: not a line of training with a step; train again") from None
    return [by_step[step] for step in sorted(by_step)]


def _validation(folder: Path, line: dict[str, Any]) -> Validation:
    """A run of before has no `value`, `static` and `base`: its metric is LPIPS."""
    named = {"value": "lpips", "static": "static_lpips", "base": "base_lpips"}
    try:
        old = {f.name: line[named.get(f.name, f.name)] for f in fields(Validation) if f.default is MISSING}
        return Validation(**old | {f.name: line[f.name] for f in fields(Validation) if f.name in line})
    except KeyError as error:
        where = folder / "train" / "validations.jsonl"
        raise RecordError(f"{where}: step {line['step']} has no {error}; train again") from None
