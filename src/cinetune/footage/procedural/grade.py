"""From a lit picture to a film frame: flicker, gate weave, vignette, colour, grain, tone curve, letterbox."""

import math

import cv2
import numpy as np
from jaxtyping import UInt8

from cinetune.footage.procedural.canvas import Picture, letterbox
from cinetune.footage.procedural.plan import Plan

_GRAIN_ROWS = 128  # grain cells over the height at every size, so that a small picture is the large one reduced
_GRAIN_MARGIN = 32
_FULL_GRAIN = 96  # from this grey level on, grain no longer grows


class Grade:
    """The laboratory of one shot at one size."""

    def __init__(self, plan: Plan, height: int, width: int) -> None:
        """Prepare matrix, curve, vignette and a grain tile larger than the frame."""
        self.plan, self.look = plan, plan.look
        self.height, self.width = height, width
        self.matrix, self.curve = self.look.matrix(), self.look.curve()
        aspect = width / height
        u, v = _axis(width)[None, :] * aspect, _axis(height)[:, None]
        fall = 1 - self.look.vignette * np.clip((u * u + v * v) * 0.45 - 0.08, 0, 1)
        self.vignette = np.repeat(fall[..., None], 3, axis=-1).astype(np.float32)
        self.grain = self._tile(np.random.default_rng([plan.grain_seed, 0]), aspect)

    def _tile(self, rng: np.random.Generator, aspect: float) -> Picture:
        rows, columns = _GRAIN_ROWS + _GRAIN_MARGIN, round(_GRAIN_ROWS * aspect) + _GRAIN_MARGIN
        noise = rng.standard_normal((rows, columns), np.float32) * np.float32(2 * self.look.grain / _FULL_GRAIN)
        scale = self.height / _GRAIN_ROWS
        size = (math.ceil(columns * scale), math.ceil(rows * scale))
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        return cv2.merge([cv2.resize(noise, size, interpolation=way)] * 3)

    def develop(self, picture: Picture, t: float, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Return the frame number `index`, at `t` seconds of its shot."""
        look, gain = self.look, 1.0
        if look.flicker:
            gain += look.flicker * (math.sin(12.9 * index) + math.sin(4.1 * index + 1.0)) / 2
        if look.weave:
            picture = self._weave(picture, t)
        picture = cv2.transform(picture * (self.vignette * np.float32(gain)), self.matrix)
        top = (index * 7919) % (self.grain.shape[0] - self.height + 1)
        left = (index * 104729) % (self.grain.shape[1] - self.width + 1)
        noise = self.grain[top : top + self.height, left : left + self.width]
        # grain is noise of the film's density: in the dark it multiplies, and black stays black
        noise = noise * np.clip(picture, 0, _FULL_GRAIN)
        frame = cv2.LUT(cv2.add(picture, noise, dtype=cv2.CV_8U), self.curve)
        if look.aspect is not None:
            letterbox(frame, look.aspect)
        return frame

    def _weave(self, picture: Picture, t: float) -> Picture:
        reach = self.look.weave * self.height
        dx, dy = reach * math.sin(2.3 * t + self.plan.clock), reach * math.sin(3.7 * t + 1.0)
        matrix = np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]])
        return cv2.warpAffine(picture, matrix, (self.width, self.height), borderMode=cv2.BORDER_REPLICATE)


def _axis(count: int) -> np.ndarray:
    return (np.arange(count, dtype=np.float32) + 0.5) / count * 2 - 1
