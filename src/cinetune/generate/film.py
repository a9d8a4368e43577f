"""A storyboard carried out: keyframes, shots made window after window, and the film of them.

OUT/
  keyframes/   the candidates, contact-sheet.png, choice.toml; crop-*.png: what was cut off of pictures of another shape
  windows/     what is being made; those of a finished shot are removed
  shots/       each shot, 16 bits without loss, and what was measured of it
  film.mp4 ... the film in every format asked for
  film.json    what was made, of what, and how; consistency.json, film-strip.png

Every file is whole or absent and carries the key of what it is made of, so that a killed run goes on, a board with one
shot changed makes that shot anew, and the same board gives the same bytes.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from cinetune import console
from cinetune.devices import describe
from cinetune.errors import RunError
from cinetune.files import sweep, write_text
from cinetune.footage.deep_video import count_deep, read_deep
from cinetune.footage.film_video import KINDS as FILMS
from cinetune.footage.film_video import film_kind, write_film
from cinetune.footage.frame_files import frame_kind, write_frames
from cinetune.generate.choices import ask
from cinetune.generate.film_report import report_film
from cinetune.generate.keyframes import (
    Candidates,
    choose_keyframes,
    fitted,
    make_candidate,
    write_picture,
)
from cinetune.generate.network import Trained
from cinetune.generate.parallel.assign import assign
from cinetune.generate.parallel.degrees import Degrees
from cinetune.generate.parallel.team import Team, together
from cinetune.generate.pictures import show_crop
from cinetune.generate.plan import FilmPlan, Planned, plan_film
from cinetune.generate.ranking import CLIP, SUBJECT, load_eyes
from cinetune.generate.shot import ROLES
from cinetune.generate.shots import Store, make_shot_file
from cinetune.generate.storyboard import Board, digest
from cinetune.generate.studio import Pull, choose, open_studio
from cinetune.generate.training import measured as measured_style
from cinetune.generate.training import views
from cinetune.generate.window import Picture, Studio
from cinetune.generate.wishes import PRECISIONS, Wishes, degrees_of, model_of, networks_of, precision_of
from cinetune.metrics.backbones._contract import Eye
from cinetune.models._contract import VideoModel
from cinetune.models._resolve import find_model
from cinetune.recipe import Evaluate
from cinetune.runs import describe_environment, locked

LOCK = ".lock"
MARK = "board.json"
"""What tells a film's folder from others."""


def make_film(
    board: Board, out: Path, model: str | None, adapters: Sequence[str], wishes: Wishes, *, device: torch.device,
    command: list[str] | None = None,
) -> Path:  # fmt: skip
    """Make a film of a storyboard; killed at any moment, calling it again goes on.

    Args:
        model: None takes the one that the first adapter was trained on.
        adapters: PATH or PATH:STRENGTH each.

    Returns:
        the folder.

    Raises:
        CinetuneError: bad input, before any work; or a full disk, and what is finished is kept.
    """
    with together(device) as process:
        for name in wishes.formats:
            film_kind(name) if name in FILMS else frame_kind(name)
        trained = [Trained.parse(text) for text in adapters]
        found: VideoModel = find_model(model or model_of(trained))
        pulls = choose(wishes.speed, wishes.levers)
        precision, evaluate = precision_of(wishes.precision, device), networks_of(wishes.weights, trained, found)
        plan = plan_film(board, found, trained, pulls, precision)
        main = process.rank == 0
        degrees = degrees_of(wishes.parallel, plan, found, process, precision) if main else Degrees()
        team = Team(process, process.from_main(degrees))
        with locked(out):
            film = _Film(plan, out, found, pulls, PRECISIONS[precision], wishes, evaluate, team)
            film.open()
            if film.make():
                film.finish(command or [])
    return out


@dataclass
class _Film:
    plan: FilmPlan
    out: Path
    model: VideoModel
    pulls: Sequence[Pull]
    dtype: torch.dtype
    wishes: Wishes
    evaluate: Evaluate
    """How keyframes and shots are looked at."""
    team: Team

    def __post_init__(self) -> None:
        self.store = Store(self.out, self.plan.board.fps)
        self.candidates = Candidates(self.out / "keyframes", self.plan, self.wishes.candidates)
        self.keys: dict[str, str] = {}

    def open(self) -> None:
        """Make the folder, or open it again."""
        if self.team.main:
            if self.out.exists() and not self.out.is_dir():
                raise RunError(f"{self.out}: is a file; give a folder for the film")
            strange = [file for file in self.out.iterdir() if file.name != LOCK] if self.out.is_dir() else []
            if strange and not (self.out / MARK).is_file():
                raise RunError(f"{self.out}: not empty and not a film; choose another --out")
            sweep(self.out)
            write_text(self.out / MARK, self.plan.board.model_dump_json(indent=1, by_alias=True) + "\n")
            self._show_crops()
        self.team.wait()

    def _show_crops(self) -> None:
        board, folder = self.plan.board, self.out / "keyframes"
        for one in self.plan.shots:
            for role in ROLES:
                picture = getattr(one.shot, role)
                if picture is not None:
                    show_crop(picture.path, board.height, board.width, folder / f"crop-{one.shot.name}-{role}.png")

    def make(self) -> bool:
        """Make what is not there yet; return False where a person is to choose keyframes first."""
        every, from_main = self.candidates.wanted, self.team.process.from_main
        missing = [every[n] for n in from_main([n for n, one in enumerate(every) if not self.candidates.there(*one)])]
        studio: Studio | None = None
        if missing:
            studio = self._open_studio()
            self._make_candidates(studio, missing)
        self.team.wait()
        chosen = from_main(self._choose() if self.team.main else None)
        if chosen is None:
            return False
        self.keys = self._keys(chosen)
        rows = self.plan.chains
        done = from_main({one.called for one in self.plan.shots if self.store.done(one, self.keys[one.called])})
        left = sum(len(one.spans) for one in self.plan.shots if one.called not in done)
        if left:
            self._make_shots(studio or self._open_studio(), rows, done, left, chosen)
        self.team.wait()
        return True

    def _make_shots(
        self, studio: Studio, rows: list[list[Planned]], done: set[str], left: int, chosen: dict[str, int]
    ) -> None:
        groups, total = self.team.degrees.segments, sum(len(one.spans) for one in self.plan.shots)
        costs = [[(one.called, float(sum(span.frames for span in one.spans))) for one in row] for row in rows]
        with console.progress("windows", total, done=total - left) as advance:
            for place in assign(costs, groups, done)[self.team.segment]:
                before: tuple[Planned, str] | None = None
                for one in rows[place]:
                    key = self.keys[one.called]
                    if one.called not in done:
                        make_shot_file(
                            studio, self.store, one, before if one.shot.after else None, key, plan=self.plan,
                            team=self.team, keyframe=self._keyframe(one, chosen), advance=lambda: advance(groups),
                        )  # fmt: skip
                    before = one, key

    def finish(self, command: list[str]) -> None:
        """Write the film in every format, measure it, and say what it was made of."""
        if not self.team.main:
            return
        shots = [self.store.path(one, self.keys[one.called]) for one in self.plan.shots]
        self._write_formats(shots)
        measured = report_film(self.out, self.plan, self.store, self.keys, self._eyes[SUBJECT])
        told = {
            "schema": 1,
            "title": self.plan.board.title,
            "model": {"name": self.model.name, "source": self.model.source, "licence": self.model.licence},
            "adapters": [{"strength": one.strength, "weights": one.told()} for one in self.plan.trained],
            "style": list(self.plan.words),
            "speed": self.wishes.speed,
            "levers": [f"{pull.lever.name}={pull.value}" if pull.value else pull.lever.name for pull in self.pulls],
            "parallel": str(self.team.degrees),
            "precision": str(self.dtype).removeprefix("torch."),
            "formats": list(self.wishes.formats),
            "shots": [self.store.told(one, self.keys[one.called]) for one in self.plan.shots],
            "measured": measured,
            "environment": describe_environment(describe(self.team.process.device), command),
        }  # fmt: skip
        write_text(self.out / "film.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        self.store.forget_others({path.stem for path in shots})
        self.candidates.forget_others()
        seconds = sum(one.frames for one in self.plan.shots) / self.plan.board.fps
        console.done(f"generate: {len(shots)} shots, {seconds:.1f} s of film in {self.out}")

    def _write_formats(self, shots: Sequence[Path]) -> None:
        total, fps = sum(count_deep(path) for path in shots), self.plan.board.fps
        for number, name in enumerate(self.wishes.formats):
            with console.progress(f"write {name}", total) as advance:
                if name in FILMS:
                    path = self.out / f"film{f'-{name}' if number else ''}{FILMS[name].suffix}"
                    write_film(path, _all_frames(shots, advance), fps, kind=name)
                else:
                    write_frames(self.out / f"frames-{name}", _all_frames(shots, advance), name)

    def _make_candidates(self, studio: Studio, missing: Sequence[tuple[Planned, int]]) -> None:
        groups = self.team.degrees.segments
        with console.progress("keyframes", len(missing)) as advance:
            for one, number in missing[self.team.segment :: groups]:
                picture = make_candidate(studio, self.candidates, one, number)
                if self.team.leads:
                    write_picture(self.candidates.path(one, number), picture)
                advance(groups)

    def _choose(self) -> dict[str, int] | None:
        if not self.candidates.shots:
            return {}
        style = self.plan.style
        for one in self.plan.trained:
            style = measured_style(style, *views(one.source, None, frames=1))
        return choose_keyframes(
            self.candidates, style, self._eyes[CLIP], self.wishes.choose, ask if self.wishes.asks else None
        )

    @cached_property
    def _eyes(self) -> dict[str, Eye]:
        return load_eyes(self.evaluate, self.team.process.device)

    def _keys(self, chosen: dict[str, int]) -> dict[str, str]:
        """Keys of the shots with the choice of their keyframes in them, and of those that they go on from."""
        keys, before = {}, ""
        for one in self.plan.shots:
            parts = [one.key, chosen.get(one.shot.name, 0), before if one.shot.after else ""]
            before = keys[one.called] = digest(parts)
        return keys

    def _keyframe(self, one: Planned, chosen: dict[str, int]) -> Picture | None:
        if one.shot.after:
            return None
        if one.shot.still:
            return fitted(one.shot.still.path, self.plan.board.height, self.plan.board.width)
        return self.candidates.read(one, chosen[one.shot.name])

    def _open_studio(self) -> Studio:
        prompts = [one.prompt for one in self.plan.shots]
        return open_studio(
            self.model, self.plan.trained, self.plan.sampling, self.plan.size, prompts,
            device=self.team.process.device, dtype=self.dtype, pulls=self.pulls, sharing=self.team,
        )  # fmt: skip


def _all_frames(shots: Sequence[Path], advance: console.Advance) -> Iterator[Picture]:
    for path in shots:
        for frame in read_deep(path):
            yield frame
            advance(1)
