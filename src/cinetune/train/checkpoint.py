"""Everything the next step depends on, in one file that is whole or absent; the one before is kept beside it."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cinetune import console
from cinetune.errors import RunError
from cinetune.files import write_aside
from cinetune.train.engines._contract import State

NAME, BEFORE = "checkpoint.pt", "checkpoint-before.pt"
SCHEMA = 2


@dataclass
class Progress:
    """The loop's named scalars."""

    step: int = 0
    """Optimiser updates done."""
    seconds: float = 0.0
    """Time trained, over all sessions of the run."""
    stopped: str = ""
    """"", "steps" or "plateau"."""


@dataclass(frozen=True)
class Checkpoint:
    """A moment of training: after a step, and after its validation where there was one."""

    progress: Progress
    state: State
    """Weights and optimiser, by parameter name."""
    belongs: dict[str, str]
    """What the run was: recipe, clips, model. Training goes on only where these are the same."""
    stopper: dict[str, Any] = field(default_factory=dict)
    baselines: dict[str, Any] = field(default_factory=dict)
    ema: dict[str, Tensor] = field(default_factory=dict)
    """Averaged weights by parameter name; empty without EMA."""


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write `folder/checkpoint.pt`; the former one becomes checkpoint-before.pt.

    Raises:
        RunError: the disk is full; both former checkpoints are as they were.
    """
    content = {
        "schema": SCHEMA,
        **{name: vars(value) if name in ("progress", "state") else value for name, value in vars(checkpoint).items()},
    }
    path = folder / NAME
    with write_aside(path) as aside:
        with aside.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())  # before the good one is moved away
        if path.exists():
            path.replace(folder / BEFORE)


def load(folder: Path, belongs: dict[str, str]) -> Checkpoint | None:
    """Return the newest checkpoint that can be read, or None where there is none.

    Raises:
        RunError: all are damaged, or made by another recipe, model, version or set of clips.
    """
    bad = []
    for name in (NAME, BEFORE):
        path = folder / name
        if not path.is_file():
            if name == NAME and (folder / BEFORE).is_file():
                bad.append(f"{path}: missing, as after a kill while it was written")
            continue
        try:
            found = _read(path)
        except _DamagedError as error:
            bad.append(f"{path}: damaged checkpoint ({error})")
            continue
        for what, value in belongs.items():
            if found.belongs.get(what) != value:
                raise RunError(
                    f"{path}: made with {what} {found.belongs.get(what)}, this is {what} {value}; put back what it "
                    "was, or delete the train folder to train from the start"
                )
        for line in bad:
            console.note(f"train: {line}; going on from the one before it, step {found.progress.step}")
        return found
    if bad:
        raise RunError(f"{bad[0]}; delete it to train from the start")
    return None


def newest(folder: Path) -> str:
    """Return in words which checkpoint there is to go back to."""
    path = folder / NAME
    if not path.is_file():
        return "there is no checkpoint yet"
    try:
        return f"the last good checkpoint is {path}, step {_read(path).progress.step}"
    except _DamagedError as error:
        return f"{path} is damaged ({error})"


class _DamagedError(Exception):
    """Not what was written."""


def _read(path: Path) -> Checkpoint:
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if content.pop("schema", 1) != SCHEMA:
            raise RunError(f"{path}: a checkpoint of another version; delete it to train from the start")
        content["progress"], content["state"] = Progress(**content["progress"]), State(**content["state"])
        return Checkpoint(**content)
    except RunError:
        raise
    except Exception as error:  # torch.load raises many classes for one cause: the file is not what was written
        raise _DamagedError(str(error).splitlines()[0] if str(error) else type(error).__name__) from None
