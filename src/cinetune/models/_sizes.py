"""From a picture's shape to the size of the video made of it."""

import math

SPATIAL, PATCH = 8, 2
"""Pixels in one latent, and latents in one token, along height and width."""


def published_size(height: int, width: int, max_area: int) -> tuple[int, int]:
    """Return height and width for a picture's shape within `max_area` pixels, by the published rule.

    Its floor divisions can lose a row of tokens: a picture of 480x832 at 480 * 832 pixels gives 464x832.
    Source: Wan-Video/Wan2.1 wan/image2video.py, generate.
    """
    ratio = height / width
    step = SPATIAL * PATCH
    return (
        round(math.sqrt(max_area * ratio) // SPATIAL // PATCH * step),
        round(math.sqrt(max_area / ratio) // SPATIAL // PATCH * step),
    )
