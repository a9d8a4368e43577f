"""Recipe, section train."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cinetune.recipe.lora import Rank
from cinetune.recipe.section import Section

Beta = Annotated[float, Field(ge=0, lt=1)]
PRODIGY_LEAST = 0.01
"""Least learning rate with Prodigy, where it is a factor that is usually 1."""


class Train(Section):
    """The optimisation."""

    method: Literal["lora", "full"] = "lora"
    """What is trained: an adapter on the frozen base (section lora), or every weight of the denoising network."""
    nested_ranks: tuple[Rank, ...] = ()
    """Ranks at which the leading part of the adapter shall work alone, ascending up to lora.rank; each step trains one
    of them, drawn evenly (Valipour et al. 2022, arXiv 2210.07558, DyLoRA). `adapter resize --leading` cuts them out."""
    steps: int = Field(4000, ge=1)
    """Optimiser updates (never micro-batches)."""
    optimiser: Literal["adamw", "adamw8bit", "prodigy", "muon"] = "adamw"
    """adamw8bit keeps the averages in 8 bits (bitsandbytes); prodigy estimates the learning rate (prodigyopt); muon
    updates matrices by their orthogonalised momentum and the rest by AdamW."""
    learning_rate: float = Field(3e-5, gt=0, le=1)
    """Peak learning rate, after warm-up. AdamW's; muon's steps are scaled to the size of AdamW's, so that it stays what
    it was; with prodigy a factor of the estimate, usually 1."""
    schedule: Literal["cosine", "constant", "wsd"] = "cosine"
    """Of the learning rate after warm-up: a cosine to zero, no change, or no change and then a decay to zero."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the steps in which the learning rate rises linearly."""
    decay: float = Field(0.2, gt=0, le=1)
    """With schedule wsd: share of the steps, the last ones, in which the learning rate falls to zero."""
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """AdamW's and Prodigy's averaging factors."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay, of every optimiser."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of the running average of the trained weights that is validated and saved in their place; 0 = none."""
    batch: int = Field(1, ge=1)
    """Clips of one micro-batch."""
    accumulation: int = Field(4, ge=1)
    """Micro-batches of one step; the gradient is clipped once, after the last."""
    clip_norm: float = Field(1.0, gt=0)
    """Largest norm of the whole gradient."""
    shift: float = Field(3.0, gt=0)
    """Shift s of the noise levels, sigma' = s sigma / (1 + (s - 1) sigma); 3 at 480p, 5 at 720p."""
    sigma_density: Literal["logit_normal", "uniform", "mode", "bell"] = "logit_normal"
    """Density of the noise level before the shift (Esser et al. 2024, sec. 3.1); bell is uniform, the loss weighted."""
    caption_dropout: float = Field(0.1, ge=0, le=1)
    """Share of clips trained with the empty caption."""
    image_dropout: float = Field(0.0, ge=0, le=1)
    """Share of clips trained without the first-frame condition (zero latents, zero mask, no image tokens)."""
    precision: Literal["fp32", "bf16", "fp8", "int8"] = "bf16"
    """Of the frozen base. fp8, int8: linear layers of the blocks stored in 8 bits with a scale for each output channel,
    all else and all arithmetic in bf16. The adapter and its optimiser state are always fp32."""
    fp8_matmul: bool = False
    """With precision "fp8", multiply in fp8 too: the frozen linear layers of the blocks, forward and input gradient."""
    checkpointing: bool = True
    """Recompute block activations in the backward pass instead of keeping them."""
    save_every: int = Field(100, ge=1)
    """Steps between two checkpoints from which a killed run goes on, bit for bit."""

    @model_validator(mode="after")
    def _agrees(self) -> "Train":
        if self.fp8_matmul and self.precision != "fp8":
            raise ValueError(f"fp8_matmul needs precision 'fp8', got {self.precision!r}")
        if self.method == "full" and self.precision in ("fp8", "int8"):
            raise ValueError(f"precision {self.precision!r} is for a frozen base; method 'full' takes fp32 or bf16")
        prodigy = self.optimiser == "prodigy"
        if prodigy and self.learning_rate < PRODIGY_LEAST:
            raise ValueError("prodigy estimates the learning rate itself; set learning_rate to 1, a factor of it")
        if not prodigy and self.learning_rate == 1:
            raise ValueError("a learning_rate of 1 is for prodigy alone")
        if self.schedule == "wsd" and self.warmup + self.decay > 1:
            raise ValueError(f"warmup {self.warmup:g} and decay {self.decay:g} are more than all steps; lower one")
        if list(self.nested_ranks) != sorted(set(self.nested_ranks)):
            raise ValueError(f"nested_ranks must ascend, got {', '.join(map(str, self.nested_ranks))}")
        return self
