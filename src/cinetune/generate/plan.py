"""What is to be made of a storyboard, decided before anything large is loaded: words, lengths, and a key for each shot.

A shot's key is a hash of all that decides how it looks: the model's weights, what was trained for it, the levers that
change numbers, and of the board this shot and those it continues. What lies on disk under a key is never made again,
and a board with one shot changed makes that shot anew and those that hang on it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cinetune import console
from cinetune.adapters.kind import check_kind
from cinetune.adapters.style import Style, find_style, run_of
from cinetune.errors import RecipeError
from cinetune.generate.expansion import Span, plan_windows
from cinetune.generate.network import Trained
from cinetune.generate.prompts import cut_prompts, prompt_of
from cinetune.generate.shot import ResolvedShot
from cinetune.generate.storyboard import Board, ResolvedBoard, digest
from cinetune.generate.studio import Pull
from cinetune.generate.window import KEYFRAME_WINDOW, Sampling
from cinetune.models._condition import TEMPORAL
from cinetune.models._contract import Usual, VideoModel
from cinetune.models._headers import read_json
from cinetune.runs import load_run

FORM = 1
"""Changes whenever the same board, weights and levers give other frames."""
HEAD = 2**20
"""Bytes at the head of a weight file of the network that tell it from others, with its size: reading 33 GB to hash
them would take longer than making a keyframe."""


@dataclass(frozen=True)
class Planned:
    """One shot."""

    shot: ResolvedShot
    number: int
    """From 1."""
    prompt: str
    """With the words of the style."""
    frames: int
    """Of the shot as it is in the film."""
    carried: int
    """Frames of the shot before that it goes on from; made once more, and not shown again."""
    spans: tuple[Span, ...]
    """Windows, from the first carried frame on."""
    key: str
    """12 hex digits, but for which candidate is chosen as its keyframe."""

    @property
    def called(self) -> str:
        """Its files' name."""
        return f"{self.number:02d}-{self.shot.name}"

    @property
    def candidates(self) -> bool:
        """Whether its keyframe is made, and chosen, rather than given."""
        return self.shot.still is None and self.shot.after is None


@dataclass(frozen=True)
class FilmPlan:
    """The whole film."""

    board: ResolvedBoard
    shots: tuple[Planned, ...]
    style: Style
    sampling: Sampling
    trained: tuple[Trained, ...]
    words: tuple[str, ...]
    """That follow every prompt."""

    @property
    def size(self) -> tuple[int, int, int]:
        """Frames, height and width of the usual window."""
        return self.board.sampling.window, self.board.height, self.board.width

    @property
    def chains(self) -> list[list[Planned]]:
        """Rows of shots of which each continues the one before."""
        named = {planned.shot.name: planned for planned in self.shots}
        return [[named[shot.name] for shot in row] for row in self.board.chains]

    @property
    def lengths(self) -> set[int]:
        """Frames of every window that will be made."""
        spans = {span.frames for planned in self.shots for span in planned.spans}
        return spans | ({KEYFRAME_WINDOW} if any(planned.candidates for planned in self.shots) else set())


def plan_film(
    board: Board, model: VideoModel, trained: Sequence[Trained], pulls: Sequence[Pull], precision: str
) -> FilmPlan:
    """Resolve a board for a model and what was trained for it.

    Raises:
        RecipeError: the board does not go with the model.
        WeightsError: an adapter that cannot be read, or for another kind of model.
    """
    resolved = board.resolved(usual_of(model, trained))
    model.check_size(resolved.sampling.window, resolved.height, resolved.width)
    any_model: Any = model
    kind = any_model.facts.kind
    styles = [find_style(one.source) for one in trained]
    for one, style in zip(trained, styles, strict=True):
        check_kind(one.source, made_for=style.kind, kind=kind, image_tokens=any_model.facts.image_tokens)
    style = next((style for style in styles if style.source), Style())
    words = resolved.words(style.words)
    if resolved.style == "auto" and trained:
        said = f'words of its style: "{", ".join(words)}"' if words else "it says no words of its style"
        console.note(f"generate: {trained[0].source}: {said}")
    for line in cut_prompts(resolved, words, model.load_tokenizer()):
        console.note(f"generate: {line}")
    ends = read_json(any_model.folder / "transformer" / "config.json").get("pos_embed_seq_len") is not None
    base = _base_key(model, trained, pulls, precision)
    told = resolved.sampling
    ids, before = resolved.ids, ""
    shots: list[Planned] = []
    for number, shot in enumerate(resolved.shots, start=1):
        if kind == "i2v" and not (shot.still or shot.reference or shot.after):
            raise RecipeError(
                f'shot {number} ("{shot.name}"): no still, no reference and no shot before it to go on from, and this '
                "model begins with a picture; give one, or a text-to-video model"
            )
        prompt = prompt_of(shot, words)
        frames = resolved.frames_of(shot, resolved.fps)
        carried = _carried(told.overlap, shots[-1].frames) if shot.after else 0
        spans = tuple(plan_windows(frames + carried, told.window, told.overlap))
        if shot.last and spans[-1].cut:
            raise RecipeError(
                f'shot {number} ("{shot.name}"): {frames} frames do not end on `last`, since windows have 4n + 1; '
                f"give it {frames + spans[-1].cut - TEMPORAL} or {frames + spans[-1].cut} frames "
                f"({(frames + spans[-1].cut) / resolved.fps:g} s)"
            )
        if ends and (not shot.still or not shot.last or len(spans) > 1):
            raise RecipeError(
                f'shot {number} ("{shot.name}"): this model is told a first and a last frame of one window; give '
                f"it still and last, and at most {told.window} frames"
            )
        key = digest([base, ids[shot.name], prompt, before if shot.after else ""])
        shots.append(Planned(shot, number, prompt, frames, carried, spans, key))
        before = key
    sampling = Sampling(told.steps, told.guidance, told.shift, resolved.negative)
    return FilmPlan(resolved, tuple(shots), style, sampling, tuple(trained), words)


def _carried(overlap: int, before: int) -> int:
    """Frames that are handed on from a shot of `before` frames: 4m + 1, as windows of one shot share them."""
    return (min(overlap, before) - 1) // TEMPORAL * TEMPORAL + 1


def usual_of(model: VideoModel, trained: Sequence[Trained]) -> Usual:
    """Return how the run of an adapter samples and cuts its clips; else what is usual for the model.

    Raises:
        RunError: the run's recipe is damaged.
    """
    for one in trained:
        run = run_of(one.source)
        if run is not None:
            recipe = load_run(run)
            footage, told = recipe.footage, recipe.generate
            return Usual(
                footage.frames, footage.height, footage.width, footage.fps, told.steps, told.guidance, told.shift
            )
    return model.usual


def _base_key(model: VideoModel, trained: Sequence[Trained], pulls: Sequence[Pull], precision: str) -> str:
    levers = [[p.lever.name, p.lever.told(p.value)] for p in pulls if p.lever.changes != "nothing"]
    return digest([FORM, model.fingerprint(), _network(model), [one.told() for one in trained], levers, precision])


def _network(model: VideoModel) -> list[Any]:
    any_model: Any = model
    found = []
    for file in sorted(any_model.folder.glob("transformer*/*.safetensors")):
        with file.open("rb") as opened:
            head = hashlib.sha256(opened.read(HEAD)).hexdigest()
        found.append([file.parent.name, file.name, file.stat().st_size, head])
    return found
