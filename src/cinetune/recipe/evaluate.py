"""Recipe, section evaluate."""

from typing import Literal

from pydantic import Field

from cinetune.recipe.section import Section


class Evaluate(Section):
    """Metrics and their intervals."""

    metrics: tuple[str, ...] = ("lpips", "fvd", "kid", "clip_text", "clip_frames", "flicker")
    """Names in cinetune/metrics, or module:OBJECT."""
    weights: Literal["nano", "published", "random"] = "nano"
    """Backbones: the package's own miniatures (offline), the published networks (by path or hub id), or these on random
    weights, which cost the same and mean nothing."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the backbones. bf16 is faster where the processor has units for it, and its numbers are not those of papers:
    results name it."""
    level: float = Field(0.95, gt=0.5, lt=1)
    """Coverage of the intervals."""
    resamples: int = Field(2000, ge=100)
    """Bootstrap resamples and permutations."""
    interval: Literal["jackknife", "bootstrap"] = "jackknife"
    """Of set metrics (FVD, KID): clips left out in turn, or drawn with replacement and moved to the estimate."""
