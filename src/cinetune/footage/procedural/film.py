"""Whole films: scenes of two or three shots, with every cut, caption and camera move written beside them."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from cinetune.console import Advance
from cinetune.errors import FootageError
from cinetune.files import write_text
from cinetune.footage.procedural.clips import SHOT_SECONDS, random_source
from cinetune.footage.procedural.plan import Plan, plan_shot
from cinetune.footage.procedural.stage import Stage
from cinetune.footage.video_io import write_video

_SHOTS_PER_SCENE = (2, 3)
_ALONG = 4.0  # how far apart two shots of a place may look at it, frame heights
_TAKES = 16  # takes of a shot that the editor may choose from
_CLEAR_CHANGE, _CLEAR_RATIO = 24.0, 5.5  # see _clarity; PySceneDetect's AdaptiveDetector asks for 15 and 3
_PREVIEW, _STEP_S = (128, 192), 1 / 16


@dataclass(frozen=True)
class FilmShot:
    """What is true of one shot."""

    start: float
    """Time of the first frame, s."""
    end: float
    """Time just after the last frame, s."""
    first_frame: int
    frames: int
    scene: str
    caption: str
    subject: str
    setting: str
    motion: str
    camera: str


@dataclass(frozen=True)
class FilmTruth:
    """What is true of a rendered film; its sidecar holds the same fields as JSON."""

    domain: str
    seed: int
    fps: float
    frames: int
    seconds: float
    height: int
    width: int
    cuts: tuple[float, ...]
    """Times at which a new shot begins, s; the beginning of the film is none."""
    cut_frames: tuple[int, ...]
    """Numbers of the frames that begin a new shot."""
    shots: tuple[FilmShot, ...]
    schema: int = 1


def render_film(
    path: Path,
    domain: str,
    *,
    shots: int,
    seed: int,
    shot_seconds: tuple[float, float] = SHOT_SECONDS,
    fps: float = 16.0,
    height: int = 256,
    width: int = 384,
    progress: Advance | None = None,
) -> FilmTruth:
    """Write an H.264 film of any length, and beside it `<stem>.json` with what is true of it.

    The same arguments make the same pictures; memory does not grow with the length.

    Args:
        path: ends in .mp4.
        domain: one of `DOMAINS`.
        shots: how many, 1 or more.
        seed: 0 or more; each seed is another film.
        shot_seconds: least and most length of a shot, s.
        fps: frames per second.
        height, width: pixels, both even.
        progress: told of each finished shot.

    Raises:
        FootageError: no such domain, no shots, wrong lengths, odd size, wrong suffix.
        RunError: the folder cannot be written.
    """
    least, most = shot_seconds
    if shots < 1 or not 2 / fps <= least <= most:
        raise FootageError(
            f"{path}: {shots} shots of {least}..{most} s; give 1 shot or more, each two frames or longer"
        )
    planned: list[FilmShot] = []
    plans = _plan_film(domain, shots, seed, shot_seconds, fps)
    write_video(path, _frames(plans, planned, fps, (height, width), progress), fps)
    cuts = tuple(shot.first_frame for shot in planned[1:])
    total = planned[-1].first_frame + planned[-1].frames
    truth = FilmTruth(
        domain, seed, fps, total, total / fps, height, width, tuple(c / fps for c in cuts), cuts, tuple(planned)
    )
    write_text(path.with_suffix(".json"), json.dumps(dataclasses.asdict(truth), indent=1) + "\n")
    return truth


def _frames(
    plans: Iterator[tuple[str, Plan]],
    planned: list[FilmShot],
    fps: float,
    size: tuple[int, int],
    progress: Advance | None,
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Yield every frame of the film, and note down each shot as it is reached."""
    begin = 0
    for scene, plan in plans:
        count = round(plan.seconds * fps)
        shot = FilmShot(
            begin / fps, (begin + count) / fps, begin, count, scene,
            plan.caption, plan.subject.noun, plan.setting, plan.motion, plan.camera,
        )  # fmt: skip
        planned.append(shot)
        stage = Stage(plan, *size)
        for k in range(count):
            yield stage.frame(k / fps, begin + k)[0]
        begin += count
        if progress is not None:
            progress(1)


def _plan_film(
    domain: str, shots: int, seed: int, shot_seconds: tuple[float, float], fps: float
) -> Iterator[tuple[str, Plan]]:
    """Yield (scene, plan) of each shot. Shots of a scene share their place and its light."""
    rng = random_source(domain, seed)
    done, scene, before = 0, 0, None
    while done < shots:
        setting, place = None, int(rng.integers(2**31))
        for _ in range(min(shots - done, int(rng.integers(_SHOTS_PER_SCENE[0], _SHOTS_PER_SCENE[1] + 1)))):
            seconds = round(float(rng.uniform(*shot_seconds)) * fps) / fps
            plan = _best_take(domain, rng, seconds, setting, place, before)
            setting, before = plan.setting, plan
            yield f"scene {scene:03d}", plan
            done += 1
        scene += 1


def _best_take(
    domain: str, rng: np.random.Generator, seconds: float, setting: str | None, place: int, before: Plan | None
) -> Plan:
    """Draw takes of a shot until one makes a clear cut after the shot `before`; else return the clearest.

    An editor does the same: two shots that look alike make a jump, not a cut.
    """
    tail = None if before is None else _preview(before, before.seconds)
    best, clearest = None, -1.0
    for _ in range(_TAKES):
        take = plan_shot(domain, rng, seconds, setting)
        take = dataclasses.replace(take, place_seed=place, shift=float(rng.uniform(-_ALONG, _ALONG)))
        if before is None or tail is None:
            return take
        same = (take.subject, take.motion, take.camera) == (before.subject, before.motion, before.camera)
        clear = _clarity(tail, _preview(take, 2 * _STEP_S)) * (0.5 if same else 1.0)
        if clear > clearest:
            best, clearest = take, clear
        if clearest >= 1.0:
            break
    assert best is not None
    return best


def _preview(plan: Plan, end: float) -> UInt8[np.ndarray, "3 h w 3"]:
    """Render three small frames, the last one at `end` (s)."""
    stage = Stage(plan, *_PREVIEW)
    return np.stack([stage.frame(end - k * _STEP_S, k)[0] for k in (2, 1, 0)])


def _clarity(tail: UInt8[np.ndarray, "3 h w 3"], head: UInt8[np.ndarray, "3 h w 3"]) -> float:
    """Return 1 or more where the change at a cut is large, and large beside the motion around it."""
    pairs = [(tail[0], tail[1]), (tail[1], tail[2]), (head[0], head[1]), (head[1], head[2])]
    motion = sum(_change(*pair) for pair in pairs) / 4
    cut = _change(tail[2], head[0])
    return min(cut / _CLEAR_CHANGE, cut / (motion * _CLEAR_RATIO + 1e-6))


def _change(a: UInt8[np.ndarray, "h w 3"], b: UInt8[np.ndarray, "h w 3"]) -> float:
    """Return the mean change of hue, saturation and value, 0..255: what detectors of cuts look at."""
    pair = [cv2.cvtColor(frame, cv2.COLOR_RGB2HSV).astype(np.int16) for frame in (a, b)]
    return float(np.abs(pair[0] - pair[1]).mean())
