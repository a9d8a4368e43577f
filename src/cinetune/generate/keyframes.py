"""The keyframe of each shot: given, restyled by the adapted model, or made from the prompt; then chosen.

A candidate is the last frame of a window of five: given the picture, or nothing but words, the model draws it its own
way. Each is kept as a PNG of 16 bits under the shot's key, so that none is made twice.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from cinetune import console
from cinetune.adapters.style import Style
from cinetune.files import write_aside
from cinetune.generate.choices import parse_choices, read_choices, write_choices
from cinetune.generate.contact_sheet import SheetRow, contact_sheet
from cinetune.generate.pictures import fit_still, read_still
from cinetune.generate.plan import FilmPlan, Planned
from cinetune.generate.ranking import Candidate, Frame, best, rank
from cinetune.generate.window import KEYFRAME_WINDOW, Picture, Studio, Window
from cinetune.metrics.backbones._contract import Eye
from cinetune.ops.video import to_shallow
from cinetune.records import write_records

OURS = re.compile(r"\d{2,}-.+-\d+-[0-9a-f]{12}\.png")
"""Names of candidates; other pictures in their folder are somebody else's."""
SEED_STEP = 1009
"""Between the seeds of a shot's candidates: far enough from those of its windows."""


@dataclass(frozen=True)
class Candidates:
    """Where the candidates of every shot lie."""

    folder: Path
    plan: FilmPlan
    count: int
    """Of each shot."""

    @property
    def shots(self) -> list[Planned]:
        """The shots whose keyframe is made."""
        return [planned for planned in self.plan.shots if planned.candidates]

    @property
    def wanted(self) -> list[tuple[Planned, int]]:
        """Each candidate, by its number from 1."""
        return [(planned, n) for planned in self.shots for n in range(1, self.count + 1)]

    def path(self, planned: Planned, number: int) -> Path:
        """Return the file of a candidate."""
        return self.folder / f"{planned.called}-{number}-{planned.key}.png"

    def there(self, planned: Planned, number: int) -> bool:
        """Return whether a candidate is made."""
        return self.path(planned, number).is_file()

    def forget_others(self) -> None:
        """Remove candidates that belong to no shot as it is now."""
        kept = {self.path(*one) for one in self.wanted}
        for file in self.folder.glob("*.png"):
            if OURS.fullmatch(file.name) and file not in kept:
                file.unlink()

    def read(self, planned: Planned, number: int) -> Picture:
        """Return a candidate."""
        return read_still(self.path(planned, number)).pixels


@lru_cache(maxsize=8)
def fitted(path: Path, height: int, width: int) -> Picture:
    """Return a picture of the board at the film's size, and say but once what was cut off."""
    return fit_still(path, height, width)


def make_candidate(studio: Studio, candidates: Candidates, planned: Planned, number: int) -> Picture:
    """Return one candidate for a shot's keyframe."""
    shot, board = planned.shot, candidates.plan.board
    first = fitted(shot.reference.path, board.height, board.width) if shot.reference else None
    window = Window(
        planned.prompt, (shot.seed + SEED_STEP * number) % 2**31, KEYFRAME_WINDOW, first,
        strength=1.0 if shot.strength is None else shot.strength,
    )  # fmt: skip
    made: Picture = studio(window)[-1]
    return made


def write_picture(path: Path, picture: Picture) -> None:
    """Write a PNG of 16 bits, whole or not at all."""
    _, data = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))
    with write_aside(path) as aside:
        aside.write_bytes(data.tobytes())


def choose_keyframes(
    candidates: Candidates, style: Style, eye: Eye | None, asked: str, ask: Callable[..., dict[str, int]] | None
) -> dict[str, int] | None:
    """Rank the candidates, draw the contact sheet, and return which is taken, by the shot's name.

    What a person said comes first: `asked` (SHOT=NUMBER,...), then choice.toml, then the best by the scores.

    Args:
        asked: the option's value; "ask" stops for a person to choose where `ask` cannot be had.
        ask: puts the question at a terminal; None where nobody sits there.

    Returns:
        None where a person shall look first.

    Raises:
        RecipeError: a choice of no such shot or candidate.
    """
    if not candidates.shots:
        return {}
    folder, file = candidates.folder, candidates.folder / "choice.toml"
    ranked: dict[str, list[Candidate]] = {}
    frames = {}
    for planned in candidates.shots:
        made = [to_shallow(candidates.read(planned, n)) for n in range(1, candidates.count + 1)]
        frames[planned.shot.name] = made
        ranked[planned.shot.name] = rank(planned.shot.name, made, planned.prompt, style, eye)
    write_records(folder / "candidates.jsonl", [one for row in ranked.values() for one in row])
    counts = {name: len(row) for name, row in ranked.items()}
    first = {name: best(row) for name, row in ranked.items()}
    said = read_choices(file, counts) if file.is_file() else {}
    waiting = asked == "ask" and not file.is_file()
    if asked and asked != "ask":
        said |= parse_choices(asked, counts)
    chosen = first | said
    _draw(candidates, frames, ranked, None if waiting else chosen)
    if waiting and ask is not None:
        said = {name: number for name, number in ask(counts, first).items() if number != first[name]}
        chosen, waiting = first | said, False
        _draw(candidates, frames, ranked, chosen)
    write_choices(file, said, counts, first)
    if waiting:
        console.done(
            f"generate: look at {folder / 'contact-sheet.png'}, write your choices into {file}, and run the same "
            "command again"
        )
        return None
    for name, reason in {name: row[0].reason for name, row in ranked.items() if row[0].reason}.items():
        console.note(f"generate: keyframes of {name}: {reason}")
    return chosen


def _draw(
    candidates: Candidates,
    frames: Mapping[str, Sequence[Frame]],
    ranked: Mapping[str, list[Candidate]],
    chosen: Mapping[str, int] | None,
) -> None:
    rows = [
        SheetRow(name, planned.prompt, frames[name], ranked[name], chosen[name] if chosen else None)
        for planned in candidates.shots
        for name in [planned.shot.name]
    ]
    contact_sheet(candidates.folder / "contact-sheet.png", rows)
