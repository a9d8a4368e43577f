"""Where the numbers of the log go besides log.jsonl: TensorBoard, Weights & Biases, Trackio. One small adapter each."""

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from cinetune import console
from cinetune.errors import RunError
from cinetune.recipe import Recipe

PROJECT = "cinetune"


class Tracker(Protocol):
    """Takes rows of numbers."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take the numbers of one step."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


class TensorBoard:
    """Event files in the run's folder: `tensorboard --logdir RUN/train`."""

    def __init__(self, folder: Path, recipe: Recipe, start: int) -> None:
        """Go on from `start`: TensorBoard forgets what a killed run logged after it."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1 if start else None)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take the numbers of one step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class _Service:
    """A run of a service that has wandb's interface."""

    _run: Any

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take the numbers of one step."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Write what is left."""
        self._run.finish()


class Wandb(_Service):
    """A run of Weights & Biases; account, server and offline mode are wandb's own settings."""

    def __init__(self, folder: Path, recipe: Recipe, start: int) -> None:
        """Open the run of this folder, the same one after a restart."""
        wandb: Any = importlib.import_module("wandb")
        name = folder.parent.resolve().name
        self._run = wandb.init(
            project=PROJECT, name=name, id=f"{name}-{recipe.id}", dir=str(folder), resume="allow",
            config=recipe.model_dump(mode="json"),
        )  # fmt: skip


class Trackio(_Service):
    """A run of Trackio, which keeps its own database; `trackio show` is its page."""

    def __init__(self, folder: Path, recipe: Recipe, start: int) -> None:
        """Open the run of this folder, the same one after a restart."""
        trackio: Any = importlib.import_module("trackio")  # in no extra: its early versions pull others back
        self._run = trackio.init(
            project=PROJECT, name=f"{folder.parent.resolve().name}-{recipe.id}", resume="allow",
            config=recipe.model_dump(mode="json"),
        )  # fmt: skip


KINDS: dict[str, Callable[[Path, Recipe, int], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "trackio": Trackio,
}


class Trackers:
    """All trackers of a run, as one."""

    def __init__(self, names: Sequence[str], folder: Path, recipe: Recipe, start: int = 0) -> None:
        """Open them.

        Args:
            names: of KINDS.
            folder: the run's train folder.
            recipe: of the run.
            start: step from which the run goes on.

        Raises:
            RunError: wandb or trackio is asked for and not installed. TensorBoard, the default, is left out then.
        """
        absent = [name for name in names if importlib.util.find_spec(name) is None]
        asked = [name for name in absent if name != "tensorboard"]
        if asked:
            raise RunError(f"system.trackers: {asked[0]} is not installed; `pip install {asked[0]}`, or leave it out")
        if absent:
            console.note("train: tensorboard is not installed; the numbers are in log.jsonl alone")
        self._open: list[Tracker] = [KINDS[name](folder, recipe, start) for name in names if name not in absent]

    def log(self, step: int, row: Mapping[str, object], group: str = "train") -> None:
        """Pass on the numbers of a row, under the names `group`/name; what is no number stays in the log file."""
        values = {
            f"{group}/{name}": float(value)
            for name, value in row.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and name != "step"
        }
        for tracker in self._open:
            tracker.log(step, values)

    def close(self) -> None:
        """Write what is left."""
        for tracker in self._open:
            tracker.close()
