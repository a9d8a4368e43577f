"""Recipe, section validation."""

from typing import Annotated, Literal

from pydantic import Field

from cinetune.recipe.section import Section


class Validation(Section):
    """Sampling from held-out first frames, and stopping when it no longer gets better.

    With an integer for `every`, everything that training does follows from the recipe. With "auto" the steps at which
    it validates, and so the step at which it may stop, depend on how fast the machine is: they are in the checkpoint,
    so that a run goes on with the same ones, but a second run of the same recipe may choose others.
    """

    every: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Steps between two validations; auto plans them from the time they take. The last step always has one."""
    budget: float = Field(0.1, gt=0, le=1)
    """Of auto: time of all validations, baselines included, over the time of the training steps, at the most."""
    metric: str = "lpips"
    """What decides: a metric of single videos by name, "pair" or "video" (lpips, rlpips, dists, ssim, ...)."""
    clips: int = Field(8, ge=2)
    """Held-out clips sampled each time, always the same ones with the same noise."""
    steps: int = Field(10, ge=1)
    """Sampler steps of a validation video."""
    guidance: float = Field(1.0, ge=1)
    """Classifier-free guidance of a validation video; 1 = off, half the cost."""
    patience: int = Field(3, ge=1)
    """Validations without a clear gain after which training stops."""
    minimum_gain: float = Field(0.002, ge=0)
    """The metric must get better by more than this (in its own unit) for a gain to be clear, ..."""
    level: float = Field(0.8, gt=0.5, lt=1)
    """... and zero lie outside the interval of this coverage of the paired difference over the clips. Low on purpose: a
    gain that is missed ends training too soon, one that is imagined costs a few validations."""
    search: int = Field(256, ge=0)
    """Training clips, spread evenly, among which copies are looked for in the sampled videos; 0 looks for none."""
