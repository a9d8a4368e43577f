"""What happens in a shot: who moves how, where, and how the camera looks at it. Numbers only, no pictures."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cinetune.footage.procedural import figures, places, rooms, things
from cinetune.footage.procedural.canvas import RGB, Brush
from cinetune.footage.procedural.looks import LOOKS, Look

BASE_WORLD = ("day", "dusk", "noir", "snow")
DOMAINS = (*BASE_WORLD, "historical", "scifi", "human")

Draw = Callable[[Brush, Look, RGB, float, float], list[things.Light]]


@dataclass(frozen=True)
class Subject:
    """One kind of mover and what it may do."""

    noun: str
    draw: Draw
    moves: dict[str, str]
    """Motion to the words of the caption."""
    settings: tuple[str, ...]
    scale: tuple[float, float]
    """Frame heights per local unit, least and most."""
    base: float | None = None
    """y of the origin, frame heights; None stands on the ground, else it hangs or flies there."""
    half: float = 0.3
    """Half the length, local units: how wide the shadow is."""
    speed: float = 1.0
    """Times the usual speed across the screen."""


def _person(who: str) -> Draw:
    def draw(brush: Brush, look: Look, accent: RGB, t: float, gone: float) -> list[things.Light]:
        figures.walk(brush, figures.dress(look, accent, who), gone)
        return []

    return draw


def _waving(who: str) -> Draw:
    def draw(brush: Brush, look: Look, accent: RGB, t: float, gone: float) -> list[things.Light]:
        figures.wave(brush, figures.dress(look, accent, who), t)
        return []

    return draw


def _turning(who: str) -> Draw:
    def draw(brush: Brush, look: Look, accent: RGB, t: float, gone: float) -> list[things.Light]:
        figures.turn_around(brush, figures.dress(look, accent, who), t)
        return []

    return draw


def _bearer(who: str) -> Draw:
    def draw(brush: Brush, look: Look, accent: RGB, t: float, gone: float) -> list[things.Light]:
        return figures.candle_bearer(brush, figures.dress(look, accent, who), look, gone, t)

    return draw


def _across(verb: str) -> dict[str, str]:
    return {"left": f"{verb} to the left", "right": f"{verb} to the right"}


_LAND = ("hills", "city", "forest")
_INSIDE = ("parlour", "library", "hall")
_FUTURE = ("neon city", "moon base")
_PLAIN = ("room", "street")
_FLOATS = {"up": "rises up", "down": "sinks down", "left": "drifts to the left", "right": "drifts to the right"}
_HOVERS = {"up": "flies up", "down": "flies down", **_across("flies")}

_BASE_CAST = (
    Subject("a car", things.car, _across("drives"), _LAND, (0.64, 0.76), half=0.55),
    Subject("a steam train", things.train, _across("rolls"), _LAND, (0.52, 0.6), half=1.1),
    Subject("a sailing boat", things.boat, _across("sails"), ("sea",), (0.62, 0.74), half=0.5, speed=0.9),
    Subject("a hot-air balloon", things.balloon, _FLOATS, (*_LAND, "sea"), (0.5, 0.6), base=0.42),
    Subject("a big bird", things.bird, _across("flies"), (*_LAND, "sea"), (0.72, 0.86), base=0.42),
    Subject("a person", _person("person"), _across("walks"), _LAND, (0.64, 0.72), half=0.22),
)
CAST: dict[str, tuple[Subject, ...]] = {
    **dict.fromkeys(BASE_WORLD, _BASE_CAST),
    "historical": (
        Subject("a candle", things.candle, {"flickers": "flickers on a table"}, _INSIDE, (0.56, 0.64), base=0.86),
        Subject("an oil lamp", things.lamp, {"swings": "swings on a chain"}, _INSIDE, (0.72, 0.84), base=-0.02),
        Subject("a tall clock", things.clock, {"swings": "swings its pendulum"}, _INSIDE, (0.72, 0.8), half=0.3),
        *(
            Subject(f"a {who} with a candle", _bearer(who), _across("walks"), _INSIDE, (0.68, 0.76), speed=0.85)
            for who in ("man", "woman")
        ),
    ),
    "scifi": (
        Subject("a hovering ship", things.ship, _HOVERS, _FUTURE, (0.56, 0.68), base=0.46),
        Subject("a robot", figures.robot, _across("walks"), _FUTURE, (0.45, 0.49), half=0.3, speed=0.9),
        Subject("a drone", things.drone, _HOVERS, _FUTURE, (0.46, 0.56), base=0.46),
    ),
    "human": tuple(
        subject
        for who in ("man", "woman")
        for subject in (
            Subject(f"a {who}", _person(who), _across("walks"), _PLAIN, (0.72, 0.8), half=0.22),
            Subject(f"a {who}", _waving(who), {"waves": "waves a hand"}, _PLAIN, (0.92, 1.0), base=1.12),
            Subject(f"a {who}", _turning(who), {"turns": "turns around"}, _PLAIN, (0.8, 0.9), base=0.97),
        )
    ),
}  # fmt: skip

PAINTERS: dict[str, places.Painter] = {
    "hills": places.hills,
    "city": places.city,
    "forest": places.forest,
    "sea": places.sea,
    "neon city": places.neon_city,
    "moon base": places.moon_base,
    "parlour": rooms.parlour,
    "library": rooms.library,
    "hall": rooms.hall,
    "room": rooms.plain_room,
    "street": rooms.street,
}
_WHERE = {
    "hills": "in the hills",
    "city": "in the city",
    "forest": "in the forest",
    "sea": "at sea",
    "neon city": "in the neon city",
    "moon base": "at the moon base",
    "parlour": "in the parlour",
    "library": "in the library",
    "hall": "in the stone hall",
    "room": "in a plain room",
    "street": "in the street",
}
_CAMERA = {
    "static": "static camera",
    "pan left": "the camera pans left",
    "pan right": "the camera pans right",
    "push in": "the camera pushes in",
}
DIRECTION = {"left": -1.0, "right": 1.0, "up": -1.0, "down": 1.0}


@dataclass(frozen=True)
class Plan:
    """Everything that decides the pictures of one shot, apart from their size."""

    domain: str
    subject: Subject
    setting: str
    motion: str
    camera: str
    seconds: float
    scale: float
    accent: RGB
    start: tuple[float, float]
    """Where the subject is at time 0: x from the middle of the frame, y offset; frame heights."""
    velocity: tuple[float, float]
    """Across the screen, frame heights per second."""
    pan: float
    """Camera speed, frame heights per second."""
    zoom: tuple[float, float]
    """Magnification at the start and at the end."""
    pivot: float
    clock: float
    """Offset of the subject's own time, s, so that not every bird starts with its wings up."""
    place_seed: int
    grain_seed: int
    shift: float = 0.0
    """Where along the place the camera begins, frame heights."""

    @property
    def look(self) -> Look:
        """The look of the domain."""
        return LOOKS[self.domain]

    @property
    def caption(self) -> str:
        """One plain sentence: who does what, where, in what light, seen how."""
        words = (
            self.subject.noun, self.subject.moves[self.motion], _WHERE[self.setting], self.look.light,
        )  # fmt: skip
        text = " ".join(words) + ", " + _CAMERA[self.camera] + "."
        return text[0].upper() + text[1:]


def plan_shot(domain: str, rng: np.random.Generator, seconds: float, setting: str | None = None) -> Plan:
    """Draw a shot of `seconds` of one domain, in the given setting or in any."""
    look = LOOKS[domain]
    cast = [s for s in CAST[domain] if setting is None or setting in s.settings]
    subject = cast[int(rng.integers(len(cast)))]
    motions = sorted(subject.moves)
    motion = motions[int(rng.integers(len(motions)))]
    where = subject.settings[int(rng.integers(len(subject.settings)))] if setting is None else setting
    camera = _draw_camera(motion, rng)
    velocity, pan, reach = _speeds(subject, motion, camera, seconds, look.letterboxed, rng)
    jitter = rng.uniform(-0.06, 0.06)
    height = float(rng.uniform(-0.03, 0.03)) if motion in DIRECTION else 0.0
    middle = (float(jitter), height)
    near = float(rng.uniform(1.0, 1.06))
    return Plan(
        domain, subject, where, motion, camera, seconds, float(rng.uniform(*subject.scale)),
        look.accents[int(rng.integers(len(look.accents)))],
        (middle[0] - reach[0] / 2, middle[1] - reach[1] / 2), velocity, pan,
        (near, near * (1.18 if camera == "push in" else 1.0)), _pivot(subject, look),
        float(rng.uniform(0, 10)),
        int(rng.integers(2**31)), int(rng.integers(2**31)),
    )  # fmt: skip


def _pivot(subject: Subject, look: Look) -> float:
    """Return the height that stays in place when the camera comes nearer: heads must stay in the picture."""
    if look.letterboxed:
        return 0.5
    if subject.base is None:
        return 0.66
    return 0.36 if subject.base > 1 else 0.5


def _draw_camera(motion: str, rng: np.random.Generator) -> str:
    """Pans follow a subject that moves across; otherwise they go either way."""
    kind = ("static", "static", "pan", "pan", "push in")[int(rng.integers(5))]
    side = "left" if rng.uniform() < 0.5 else "right"
    if kind != "pan":
        return kind
    return f"pan {motion if motion in ('left', 'right') else side}"


def _speeds(
    subject: Subject, motion: str, camera: str, seconds: float, letterboxed: bool, rng: np.random.Generator
) -> tuple[tuple[float, float], float, tuple[float, float]]:
    """Return screen velocity and pan speed (frame heights per second) and the way across the screen.

    Long shots are slower where the subject would otherwise leave the picture.
    """
    across, along, fast = (float(rng.uniform(*r)) for r in ((0.36, 0.52), (0.19, 0.27), (0.5, 0.75)))
    drift = float(rng.uniform(-0.1, 0.1))
    pan = 0.0
    if camera.startswith("pan"):
        pan = (1.0 if camera == "pan right" else -1.0) * fast * subject.speed
        if motion not in ("left", "right"):
            pan *= 0.5
    vx = vy = 0.0
    if motion in ("left", "right"):
        way = 0.9 if camera == "push in" else 1.1
        vx = drift if pan else DIRECTION[motion] * min(across * subject.speed, way / seconds)
    elif motion in ("up", "down"):
        vy = DIRECTION[motion] * min(along, (0.26 if letterboxed else 0.5) / seconds)
    elif pan:
        # a subject that stays where it is crosses the picture against the pan
        pan = (1.0 if pan > 0 else -1.0) * min(abs(pan), 0.75 / seconds)
        vx = -pan
    return (vx, vy), pan, (vx * seconds, vy * seconds)
