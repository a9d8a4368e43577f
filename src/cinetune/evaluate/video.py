"""One video to be measured, what became of it, and where the time went."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cinetune.evaluate.store import Place


@dataclass(frozen=True)
class Video:
    """One video to be measured."""

    id: str
    arm: str
    """"real" for the true ones, "training" for what the model learnt from."""
    source: str
    """What pairs it with videos of other arms."""
    cluster: str
    """What it shares with videos that are not independent of it: its scene, or its source."""
    path: Path
    reference: Path | None
    """The true continuation, where there is one."""
    caption: str
    """"" where nobody said."""
    matched: bool
    """Has a counterpart among the real videos, if only as a set, and so belongs into set metrics."""
    still: bool = False
    """Stands for its own first frame, held for its whole length."""


@dataclass(frozen=True)
class Found:
    """What became of one video."""

    size: tuple[int, int, int] = (0, 0, 0)
    """Frames, height, width."""
    places: Mapping[str, Place | str] = field(default_factory=dict)
    """Look's name -> where its features are, or the reason why there are none and none were kept."""
    short: str = ""
    """Why some metrics leave it out: it has too few frames for them."""
    problem: str = ""
    """Why nothing could be measured."""


class Spent:
    """Seconds by what they were spent on, added up over all workers."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Count the time inside."""
        began = time.perf_counter()
        try:
            yield
        finally:
            gone = time.perf_counter() - began
            with self._lock:
                self.seconds[what] = self.seconds.get(what, 0.0) + gone
