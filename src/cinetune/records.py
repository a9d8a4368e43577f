"""What the stages leave on disk for each other: one small frozen class per kind of line, stored as JSONL.

A path inside a record is relative to the folder of the record file and uses forward slashes, so that a run
folder can be moved, zipped and opened on another system. Times are seconds, sizes pixels.
"""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cinetune.errors import RecordError
from cinetune.files import write_text

R = TypeVar("R")


@dataclass(frozen=True)
class Shot:
    """The frames between two cuts of one film. Written by `prepare` to footage/shots.jsonl."""

    id: str
    film: str
    """File name of the film."""
    film_sha256: str
    start: float
    """Time of the first frame, s."""
    end: float
    """Time just after the last frame, s."""
    scene: str
    """Shots of one scene never sit on both sides of the train-held-out border."""
    schema: int = 1


@dataclass(frozen=True)
class Clip:
    """One fixed-length window of a shot. Written by `prepare` to footage/clips.jsonl."""

    id: str
    shot: str
    scene: str
    film: str
    start: float
    """Time of the first frame in the film, s."""
    fps: float
    """Frames per second of the clip."""
    frames: int
    height: int
    width: int
    caption: str
    caption_source: str
    """"sidecar" (written by a person or by the renderer) or "measured"."""
    split: str
    """"train", "validation" (steers early stopping) or "test" (only ever evaluated)."""
    motion: float
    """Mean absolute difference of neighbouring frames, grey levels 0..255."""
    video: str
    """The window as a lossless RGB file (FFV1 in Matroska)."""
    cache: str
    """Latents and conditions of the window (safetensors)."""
    schema: int = 1


@dataclass(frozen=True)
class Sample:
    """One generated video. Written by `generate` to generate/samples.jsonl."""

    id: str
    arm: str
    """"base", "tuned" or "static" (the first frame held still)."""
    source: str
    """Id of the held-out clip whose first frame was given, or of the storyboard shot."""
    prompt: str
    seed: int
    video: str
    """The frames as a lossless RGB file (FFV1 in Matroska)."""
    reference: str
    """The true continuation (a clip's video), or "" where there is none."""
    adapter_sha256: str
    """SHA-256 of the adapter file, or "" for the base; of two experts both, joined by " + "."""
    steps: int
    guidance: float
    shift: float
    schema: int = 1


@dataclass(frozen=True)
class Score:
    """One number for one video. Written by `evaluate` to evaluate/scores.jsonl."""

    metric: str
    version: str
    arm: str
    item: str
    """Id of the sample."""
    source: str
    """What pairs the arms: the id of the held-out clip."""
    value: float | None
    """None when the metric cannot be computed for this item; `reason` says why. Never 0 for nothing."""
    unit: str
    reason: str = ""
    schema: int = 1


@dataclass(frozen=True)
class Result:
    """An estimate with its interval and n. A list of these is evaluate/results.json."""

    metric: str
    version: str
    arm: str
    """"base", "tuned", "static", "real" (the noise floor), or "tuned - base" for a paired difference."""
    kind: str
    """"set", "pair", "video" or "corpus"."""
    better: str
    """"lower", "higher" or "neither"."""
    estimate: float | None
    low: float | None
    high: float | None
    """The ends of the interval at `level`; None when too few items, `reason` says how many would do."""
    level: float
    n: int
    """Videos behind the estimate (the clusters of the bootstrap)."""
    unit: str
    backbone: str
    """Name, version and weights of the network the metric looks through, or ""."""
    seed: int
    p_value: float | None = None
    """Two-sided permutation test of a paired difference."""
    p_holm: float | None = None
    """The same after Holm's correction for all differences of one evaluation."""
    reason: str = ""
    schema: int = 1


@dataclass(frozen=True)
class Evaluated:
    """One video that was to be measured. Written by `evaluate` to videos.jsonl."""

    id: str
    arm: str
    """An arm of the generated videos, "real" for the true ones, "training" for what the model learnt from."""
    source: str
    """What pairs it with videos of other arms."""
    video: str
    """Relative to the folder of this file where it lies below it or beside it, otherwise absolute."""
    reference: str
    """The true continuation, as `video`; "" where there is none."""
    caption: str
    frames: int
    """0 where it could not be decoded."""
    height: int
    width: int
    still: bool = False
    """The first frame of `video`, held for its whole length: what copying the first frame would score."""
    problem: str = ""
    """Why nothing could be measured, in one line; "" where it was."""
    schema: int = 1


def write_records(path: Path, records: Iterable[object]) -> None:
    """Write records as JSONL, aside and then renamed, so that the file is whole or absent."""
    trees = [dataclasses.asdict(r) for r in records]  # type: ignore[call-overload]
    lines = [json.dumps(tree, ensure_ascii=False, allow_nan=False) + "\n" for tree in trees]
    write_text(path, "".join(lines))


def read_records(path: Path, kind: type[R]) -> list[R]:
    """Read JSONL records of one class.

    Raises:
        RecordError: no such file, a line is not JSON, has unknown or missing fields, or another schema.
    """
    if not path.is_file():
        raise RecordError(f"{path}: no such record file; run the stage that writes it first")
    fields = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    schema = next(f.default for f in dataclasses.fields(kind) if f.name == "schema")  # type: ignore[arg-type]
    records = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            tree = json.loads(line)
        except ValueError:  # JSONDecodeError or UnicodeDecodeError
            raise RecordError(f"{path}:{number}: not JSON; delete the file and run its stage again") from None
        if not isinstance(tree, dict):
            raise RecordError(f"{path}:{number}: not a record; delete the file and run its stage again")
        if tree.get("schema") != schema:
            raise RecordError(f"{path}:{number}: schema {tree.get('schema')!r}, this version reads {schema}")
        if set(tree) - fields:
            raise RecordError(f"{path}:{number}: unknown fields {sorted(set(tree) - fields)}")
        try:
            records.append(kind(**tree))
        except TypeError as error:
            raise RecordError(f"{path}:{number}: {error}") from None
    return records
