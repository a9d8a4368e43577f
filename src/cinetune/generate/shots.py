"""Shots on disk: windows while one is made, the shot when it is finished, and what was measured of it."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cinetune import console
from cinetune.errors import FootageError
from cinetune.files import write_text
from cinetune.footage.deep_video import count_deep, load_deep, write_deep
from cinetune.generate.drift import Grades, HandOver
from cinetune.generate.expansion import make_shot
from cinetune.generate.joins import Steps
from cinetune.generate.keyframes import fitted
from cinetune.generate.parallel.team import Team
from cinetune.generate.plan import FilmPlan, Planned
from cinetune.generate.window import Frames, Picture, Studio


@dataclass(frozen=True)
class Store:
    """The folders of a film."""

    out: Path
    fps: float

    def path(self, planned: Planned, key: str) -> Path:
        """Return the file of a finished shot."""
        return self.out / "shots" / f"{planned.called}-{key}.mkv"

    def told_path(self, planned: Planned, key: str) -> Path:
        """Return the file of what is known of a finished shot."""
        return self.path(planned, key).with_suffix(".json")

    def windows(self, planned: Planned, key: str) -> Path:
        """Return the folder of the windows of a shot that is being made."""
        return self.out / "windows" / f"{planned.called}-{key}"

    def done(self, planned: Planned, key: str) -> bool:
        """Return whether a shot is finished."""
        path = self.path(planned, key)
        return self.told_path(planned, key).is_file() and _count(path) == planned.frames

    def told(self, planned: Planned, key: str) -> dict[str, Any]:
        """Return what is known of a finished shot."""
        tree: dict[str, Any] = json.loads(self.told_path(planned, key).read_text(encoding="utf-8"))
        return tree

    def forget_others(self, kept: set[str]) -> None:
        """Remove shots and windows that belong to no shot of the film as it is now, and say so."""
        others = [file for file in (self.out / "shots").glob("*.mkv") if file.stem not in kept]
        for file in others:
            file.unlink()
            file.with_suffix(".json").unlink(missing_ok=True)
        if others:
            console.note(f"generate: {len(others)} shots of an earlier board or adapter were removed")
        shutil.rmtree(self.out / "windows", ignore_errors=True)


def make_shot_file(
    studio: Studio, store: Store, planned: Planned, before: tuple[Planned, str] | None, key: str, *, plan: FilmPlan,
    team: Team, keyframe: Picture | None, advance: Callable[[], None],
) -> None:  # fmt: skip
    """Make one shot, window by window, and write it. All processes of the group do the same; its first one writes.

    Args:
        before: the shot that it goes on from, finished, and its key.
        keyframe: the picture it begins with; None where it goes on.
    """
    folder, shot, board = store.windows(planned, key), planned.shot, plan.board
    begin = None if keyframe is None else keyframe[None]
    if before is not None:
        earlier, its_key = before
        begin = load_deep(store.path(earlier, its_key), earlier.frames - planned.carried)
    last = fitted(shot.last.path, board.height, board.width) if shot.last else None
    handovers: list[HandOver] = []
    anchor = None if board.sampling.anchor == "off" else board.sampling.anchor
    steps, grades = Steps(), Grades()

    def load(number: int) -> Frames | None:
        path = folder / f"{number}.mkv"
        return load_deep(path) if team.from_lead(_count(path) is not None) else None

    def save(number: int, frames: Frames) -> Frames:
        path = folder / f"{number}.mkv"
        if team.leads:
            write_deep(path, frames, store.fps)
        team.from_lead(True)
        advance()
        return load_deep(path)

    def shown() -> Iterator[Picture]:
        left = planned.carried
        for piece in make_shot(
            studio, planned.spans, begin, planned.prompt, shot.seed, load=load, save=save, last=last, anchor=anchor,
            told=handovers.append,
        ):  # fmt: skip
            new = piece[left:]
            left -= len(piece) - len(new)
            steps.add(new)
            grades.add(new)
            yield from new

    if not team.leads:
        for _ in shown():
            pass
    else:
        write_deep(store.path(planned, key), shown(), store.fps)
        told = {
            "name": shot.name, "key": key, "prompt": planned.prompt, "seed": shot.seed, "frames": planned.frames,
            "steps": steps.values, "drift": asdict(grades.drift(shot.name, store.fps)),
            "handovers": [asdict(one) for one in handovers],
        }  # fmt: skip
        write_text(store.told_path(planned, key), json.dumps(told, ensure_ascii=False) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
    team.from_lead(True)


def _count(path: Path) -> int | None:
    """Frames of a file, None where it is not there or not whole."""
    try:
        return count_deep(path) if path.is_file() else None
    except FootageError:
        return None
