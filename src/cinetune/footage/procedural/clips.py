"""Short clips with captions and masks: what the miniature model and the networks of the metrics learn from."""

import zlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from cinetune.errors import FootageError
from cinetune.footage.procedural.plan import DOMAINS, plan_shot
from cinetune.footage.procedural.stage import Stage

SHOT_SECONDS = (2.2, 3.2)


@dataclass(frozen=True)
class RenderedClip:
    """A window of one rendered shot, with everything that is known about it."""

    frames: UInt8[np.ndarray, "f h w 3"]
    foreground: Bool[np.ndarray, "f h w"]
    """True on the moving subject."""
    caption: str
    subject: str
    setting: str
    motion: str
    camera: str
    domain: str


def random_source(domain: str, seed: int) -> np.random.Generator:
    """Return the generator of one domain and seed.

    Raises:
        FootageError: no such domain.
    """
    if domain not in DOMAINS:
        raise FootageError(f"domain {domain!r}: no such rendered world; choose one of {', '.join(DOMAINS)}")
    return np.random.default_rng([zlib.crc32(domain.encode()), seed])


def render_clip(
    domain: str, *, seed: int, frames: int = 17, height: int = 64, width: int = 96, fps: float = 16.0
) -> RenderedClip:
    """Render a window of a shot. The same seed shows the same scene at every size.

    Args:
        domain: one of `DOMAINS`.
        seed: 0 or more; each seed is another shot.
        frames: length of the window.
        height, width: pixels.
        fps: frames per second; the shot keeps its speed, so half the rate shows twice the way per frame.

    Raises:
        FootageError: no such domain.
    """
    rng = random_source(domain, seed)
    seconds = max(float(rng.uniform(*SHOT_SECONDS)), frames / fps)
    start = float(rng.uniform(0.0, seconds - (frames - 1) / fps))
    plan = plan_shot(domain, rng, seconds)
    stage = Stage(plan, height, width)
    pairs = [stage.frame(start + k / fps, k) for k in range(frames)]
    return RenderedClip(
        np.stack([frame for frame, _ in pairs]), np.stack([mask for _, mask in pairs]), plan.caption,
        plan.subject.noun, plan.setting, plan.motion, plan.camera, domain,
    )  # fmt: skip
