"""Recipe, section generate."""

from typing import Literal

from pydantic import Field

from cinetune.recipe.section import Section


class Generate(Section):
    """Sampling videos."""

    steps: int = Field(40, ge=1, le=1000)
    """Sampler steps (UniPC, order 2)."""
    guidance: float = Field(5.0, ge=1)
    """Classifier-free guidance; 1 = off."""
    shift: float = Field(3.0, gt=0)
    """Shift of the sampler's noise levels; 3 at 480p, 5 at 720p."""
    size_rule: Literal["asked", "published"] = "asked"
    """Of showcase shots: footage.height x footage.width, or what the published code makes of a picture of that shape,
    which can be a row of tokens less (464x832 for 480x832). Held-out clips always keep their own size."""
    negative: str = ""
    """The negative prompt."""
    shots: int = Field(3, ge=0, le=100)
    """Shots of the showcase made by `run`, each a keyframe expanded to a sequence."""
    segments: int = Field(2, ge=1, le=20)
    """Windows of one showcase shot, each starting from the last frame of the one before."""
