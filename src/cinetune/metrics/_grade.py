"""The grade of a video: mean and spread of lightness and tint."""

import math

import cv2
import numpy as np
from jaxtyping import Float

from cinetune.metrics._contract import Frames

Grade = Float[np.ndarray, "2 3"]
"""Mean and deviation of L*, a*, b*, CIELAB units."""


def grade(frames: Frames) -> Grade:
    """Return the grade of all pixels of all frames."""
    sums, squares = np.zeros(3), np.zeros(3)
    for frame in frames:  # frame by frame: a whole 720p video in floats would not fit beside others
        lab = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).reshape(-1, 3)
        sums += lab.mean(axis=0, dtype=np.float64)
        squares += np.square(lab, dtype=np.float64).mean(axis=0)
    mean = sums / len(frames)
    return np.stack([mean, np.sqrt(np.maximum(squares / len(frames) - mean**2, 0))])


def distance(a: Grade, b: Grade) -> float:
    """Return the distance of the six numbers: the Wasserstein distance of Gaussians fitted to each channel."""
    return math.sqrt(float(((a - b) ** 2).sum()))
