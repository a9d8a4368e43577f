"""A planned shot, painted once and rendered frame by frame."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from cinetune.footage.procedural.canvas import Brush, Layer, Picture, glow, letterbox, opaque, over, shade, view
from cinetune.footage.procedural.grade import Grade
from cinetune.footage.procedural.places import Canvas, Place, Plane
from cinetune.footage.procedural.plan import PAINTERS, Plan
from cinetune.footage.procedural.things import Light
from cinetune.footage.procedural.weather import Weather

_LIGHT_ROWS = 48  # light is soft: a coarse grid is enough, and the same at every picture size
_INDOORS = 0.34  # what the walls throw back, where only flames give light


@dataclass(frozen=True)
class _Moment:
    """Where everything is at one time; frame heights."""

    t: float
    camera: float
    zoom: float
    x: float
    y: float


class Stage:
    """Renders one plan at one size. `frame(t, index)` depends on nothing but its arguments."""

    def __init__(self, plan: Plan, height: int, width: int) -> None:
        """Paint the place and prepare the grade for pictures of `height` x `width` pixels."""
        self.plan, self.height, self.width = plan, height, width
        self.aspect = width / height
        way = (plan.shift, plan.shift + plan.pan * plan.seconds)
        canvas = Canvas(height, width, (min(way), max(way)))
        rng = np.random.default_rng(plan.place_seed)
        self.place: Place = PAINTERS[plan.setting](canvas, plan.look, rng)
        self._planes = list(self.place.planes)
        if plan.motion == "flickers":
            self._planes.append(self._table(canvas))
        self._brush = Brush(height, width)
        self._weather = Weather(plan, self.aspect) if plan.look.weather else None
        self._grade = Grade(plan, height, width)
        axes = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
        self._columns, self._rows = np.meshgrid(*axes)
        self._still: dict[int, Layer] = {}

    def frame(self, t: float, index: int) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
        """Render the picture at `t` seconds (grain number `index`) and the mask of the moving subject."""
        now = self._moment(t)
        picture = self._background(now)
        lights = self._draw_subject(now)
        subject = self._brush.layer()
        picture = self._reflect(self._shadow(picture, now), subject, now)
        part = self._brush.bounds()
        picture[part] = over(picture[part], self._rimmed(subject[part]))
        if self._weather is not None:
            self._brush.clear()
            self._weather.draw(self._brush, t)
            picture = over(picture, self._brush.layer() * np.float32(self._weather.strength))
        frame = self._grade.develop(self._lit(picture, lights, t), t, index)
        mask = opaque(subject)
        if self.plan.look.aspect is not None:
            letterbox(mask, self.plan.look.aspect)
        return frame, mask

    def _moment(self, t: float) -> _Moment:
        plan = self.plan
        zoom = plan.zoom[0] + (plan.zoom[1] - plan.zoom[0]) * t / plan.seconds
        x = self.aspect / 2 + (plan.start[0] + plan.velocity[0] * t) * zoom
        base = plan.subject.base
        y = self.place.ground if base is None else base + plan.start[1] + plan.velocity[1] * t
        return _Moment(t, plan.shift + plan.pan * t, zoom, x, plan.pivot + (y - plan.pivot) * zoom)

    def _seen(self, number: int, now: _Moment) -> Layer:
        """Return plane `number` through the camera; a camera that stands still looks only once."""
        plan = self.plan
        still = plan.pan == 0 and plan.zoom[0] == plan.zoom[1]
        if still and number in self._still:
            return self._still[number]
        plane = self._planes[number]
        left = plane.depth * now.camera - self.aspect / 2 - plane.left
        zoom = 1.0 + (now.zoom - 1.0) * (0.3 + 0.7 * min(plane.depth, 1.0))
        seen = view(plane.image, self.height, self.width, left, zoom, plan.pivot)
        if still:
            self._still[number] = seen
        return seen

    def _on_screen(self, y: float, now: _Moment) -> float:
        """Return where a height of the place appears, frame heights."""
        return self.plan.pivot + (y - self.plan.pivot) * now.zoom

    def _background(self, now: _Moment) -> Picture:
        picture = self._seen(0, now)[..., :3].copy()
        for number in range(1, len(self._planes)):
            picture = over(picture, self._seen(number, now))
            if self.place.mirror is not None and number + 1 == self.place.mirror_after:
                self._mirror(picture, self.place.mirror, now)
        return picture

    def _ripples(self, line: float, t: float) -> tuple[int, np.ndarray, np.ndarray]:
        """Return the first row below y = `line`, and where rows from there find their rippled mirror image."""
        first = min(self.height - 1, max(0, round(line * self.height)))
        deep = (self._rows[first:] + 0.5) / self.height - line
        near = np.clip(deep, 0, 1)
        shift = (0.006 + 0.05 * near) * np.sin(deep * 62.0 / (0.4 + 2.4 * near) + 4.5 * t)
        x = self._columns[first:] + shift * self.height
        y = (line - deep) * self.height - 0.5
        return first, x.astype(np.float32), y.astype(np.float32)

    def _mirror(self, picture: Picture, line: float, now: _Moment) -> None:
        """Mix, in place, the mirror image about y = `line` into the water or the wet street."""
        first, x, y = self._ripples(self._on_screen(line, now), now.t)
        image = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        k = self.place.mirror_strength
        picture[first:] = picture[first:] * np.float32(1 - k) + image * np.float32(k * 0.95)

    def _reflect(self, picture: Picture, subject: Layer, now: _Moment) -> Picture:
        """Lay the subject's mirror image on water or a wet street, about the line it stands on."""
        if self.place.mirror is None:
            return picture
        line = self.place.ground if self.plan.subject.base is None else self.place.ground + 0.06
        first, x, y = self._ripples(self._on_screen(line, now), now.t)
        image = cv2.remap(subject, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        picture[first:] = over(picture[first:], image * np.float32(0.75 * self.place.mirror_strength))
        return picture

    def _shadow(self, picture: Picture, now: _Moment) -> Picture:
        plan = self.plan
        if plan.subject.base is not None or plan.setting == "sea":
            return picture
        size = plan.scale * now.zoom
        spot = glow(self.height, self.width, now.x, now.y + 0.005, plan.subject.half * size * 1.5, 0.06)
        return np.asarray(picture * (1 - np.float32(1.3 * plan.look.shadow) * spot[..., None]))

    def _draw_subject(self, now: _Moment) -> list[Light]:
        plan, brush = self.plan, self._brush
        brush.clear()
        own = now.t + plan.clock
        vertical = plan.motion in ("up", "down")
        tilt = 0.0
        if plan.setting == "sea" and plan.subject.base is None:
            tilt = 0.09 * math.sin(2.2 * own)
        elif vertical:
            tilt = 0.06 * math.sin(2.6 * own)
        elif plan.motion == "waves":
            tilt = 0.05 * math.sin(3.4 * own)
        backwards = plan.motion == "left" or (vertical and plan.clock > 5)
        brush.place(now.x, now.y, plan.scale * now.zoom, tilt, backwards)
        gone = abs(plan.velocity[0] + plan.pan) / plan.scale * own
        return plan.subject.draw(brush, plan.look, plan.accent, own, gone)

    def _rimmed(self, subject: Layer) -> Layer:
        """Add light along the upper edge of the subject, given its part of the frame."""
        if not subject.size:
            return subject
        look, step = self.plan.look, 0.022 * self.height
        alpha = subject[..., 3]
        matrix = np.array([[1.0, 0.0, step * 0.6], [0.0, 1.0, step]])
        below = cv2.warpAffine(alpha, matrix, alpha.shape[::-1], flags=cv2.INTER_LINEAR)
        edge = np.maximum(alpha - below, 0)[..., None] * np.float32(look.rim_strength / 255)
        out = subject.copy()
        out[..., :3] += (np.array(look.rim, np.float32) * (alpha[..., None] / 255) - out[..., :3]) * edge
        return out

    def _lit(self, picture: Picture, lights: list[Light], t: float) -> Picture:
        """Multiply by the light of flames indoors; add the glow of lamps elsewhere."""
        indoors = self.plan.domain == "historical"
        if indoors and not lights:
            lights = [self._sconce(t)]
        if not lights:
            return picture
        rows, columns = _LIGHT_ROWS, max(1, round(_LIGHT_ROWS * self.aspect))
        total = np.zeros((rows, columns, 3), np.float32)
        for light in lights:
            spot = glow(rows, columns, light.x, light.y, light.radius)
            total += spot[..., None] * (np.array(light.colour, np.float32) * np.float32(light.strength / 255))
        large = cv2.resize(total, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        if indoors:
            return np.asarray(picture * (large * np.float32(1.15) + np.float32(_INDOORS)) + large * np.float32(26))
        return np.asarray(picture * (large * np.float32(0.3) + np.float32(1)) + large * np.float32(110))

    def _sconce(self, t: float) -> Light:
        """Return the light of a candle outside the picture."""
        own = t + self.plan.clock
        x = self.aspect * (0.25 if self.plan.clock < 5 else 0.75) + 0.03 * math.sin(5.0 * own)
        strength = 0.95 + 0.16 * math.sin(7.3 * own) + 0.08 * math.sin(15.1 * own)
        return Light(x, 0.35, 0.95, (255, 196, 104), strength)

    def _table(self, canvas: Canvas) -> Plane:
        brush, left, right = canvas.brush(1.0)
        wood = shade(self.plan.look.far, 0.8)
        brush.place(-left, 0.0)
        for k in range(5):
            brush.box(left, 0.8 + 0.045 * k, right, 1.1, shade(wood, 1.0 - 0.1 * k))
        brush.box(left, 0.93, right, 1.1, shade(wood, 0.4))
        return canvas.plane(brush, 1.0, left)
