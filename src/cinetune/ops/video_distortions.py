"""Distortions of a whole video at four strengths, for testing that metrics see what they claim to see.

Frames are uint8, f h w 3; strengths are 1 (mild) to 4 (strong). Every random draw comes from the generator given, and
from the same seed a stronger distortion is the weaker one grown: the same pattern of noise, the same delays, the same
frames and more.
Frame 0 keeps its place, as the frame that is given to a model does. `reencode` is not here, since it takes a codec.
"""

from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np
from jaxtyping import UInt8

Frames = UInt8[np.ndarray, "f h w 3"]
Strength = Literal[1, 2, 3, 4]
STRENGTHS: tuple[Strength, ...] = (1, 2, 3, 4)

BLUR = (0.5, 1.0, 2.0, 4.0)
"""Deviation of the Gaussian, % of the shorter side."""
NOISE = (4.0, 8.0, 16.0, 32.0)
"""Deviation, grey levels."""
REACH = (2.0, 4.0, 8.0, 16.0)
"""Frames by which shuffle delays a frame at most. At 17 frames the mean jump between neighbours is 1.2, 1.8, 2.7, 4.0
frames instead of 1; moving a share of the frames anywhere would break nearly every neighbourhood at once."""
DROPPED = (0.125, 0.25, 0.375, 0.5)
"""Share of the frames after the first that drop leaves out."""
FROZEN = (0.2, 0.4, 0.6, 0.8)
"""Share of the frames after the first in which nothing moves any more."""
TINT = (0.05, 0.1, 0.2, 0.4)
"""Share by which red is raised and blue lowered."""


def blur(frames: Frames, strength: Strength, rng: np.random.Generator) -> Frames:
    """Gaussian blur of every frame."""
    sigma = BLUR[strength - 1] / 100 * min(frames.shape[1:3])
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])


def noise(frames: Frames, strength: Strength, rng: np.random.Generator) -> Frames:
    """Gaussian noise, independent at every pixel, channel and frame."""
    moved = frames + NOISE[strength - 1] * rng.standard_normal(frames.shape, np.float32)
    return np.asarray(np.clip(np.rint(moved), 0, 255), np.uint8)


def shuffle(frames: Frames, strength: Strength, rng: np.random.Generator) -> Frames:
    """Delay every frame but the first by a random time, and show them in the order in which they then come."""
    delays = REACH[strength - 1] * rng.random(len(frames))
    delays[:1] = 0
    return frames[np.argsort(np.arange(len(frames)) + delays, kind="stable")]


def freeze(frames: Frames, strength: Strength, rng: np.random.Generator) -> Frames:
    """Hold one frame from some moment to the end."""
    last = round((1 - FROZEN[strength - 1]) * (len(frames) - 1))
    return frames[np.minimum(np.arange(len(frames)), last)]


def drop(frames: Frames, strength: Strength, rng: np.random.Generator) -> UInt8[np.ndarray, "half h w 3"]:
    """Leave out frames at random; what follows moves up. Of n frames it returns the first n / 2 that are left.

    So it wants twice as many frames as are compared, and stands against the first half of them, undistorted.
    """
    order = 1 + rng.permutation(len(frames) - 1)
    left_out = order[: round(DROPPED[strength - 1] * len(order))]
    return np.delete(frames, left_out, axis=0)[: len(frames) // 2]


def colour(frames: Frames, strength: Strength, rng: np.random.Generator) -> Frames:
    """A warmer grade: red raised, blue lowered, black kept."""
    gains = np.array([1 + TINT[strength - 1], 1, 1 - TINT[strength - 1]], np.float32)
    return np.asarray(np.clip(np.rint(frames * gains), 0, 255), np.uint8)


KINDS: dict[str, Callable[[Frames, Strength, np.random.Generator], Frames]] = {
    "blur": blur,
    "noise": noise,
    "shuffle": shuffle,
    "freeze": freeze,
    "drop": drop,
    "colour": colour,
}
