"""Recipe, section lora."""

from typing import Annotated, Literal

from pydantic import Field

from cinetune.recipe.section import Section

Rank = Annotated[int, Field(ge=1, le=1024)]


class Lora(Section):
    """The adapter."""

    rank: Rank = 8
    """Rank r of the update W + (alpha / r) B A (Hu et al. 2021, sec. 4.1)."""
    alpha: float = Field(16.0, gt=0)
    """Numerator of the LoRA scale alpha / r."""
    targets: str = "cross-attention"
    """Linear layers that are adapted: cross-attention, attention, all-linear, or a regular expression over whole names
    such as blocks.3.ffn.net.2."""
    image_projections: bool = True
    """Adapt add_k_proj and add_v_proj, through which cross-attention sees the first frame, as well as q,k,v,o."""
    ranks: dict[str, Rank] = Field({})
    """Ranks other than `rank`: a regular expression over whole layer names, and the rank of those it matches. Such
    a layer keeps the scale alpha / rank of the others, or with rslora their alpha."""
    rslora: bool = False
    """Scale alpha / sqrt(r) of each layer's own rank r (Kalajdzievski 2023, arXiv 2312.03732) instead of alpha / r."""
    dora: bool = False
    """Learn the norm of each weight's rows apart from their direction (Liu et al. 2024, arXiv 2402.09353, eq. 5)."""
    plus_ratio: float = Field(1.0, ge=1, le=1000)
    """Learning rate of B over that of A (LoRA+, Hayou et al. 2024, arXiv 2402.12354, 16 suggested); 1 = the same."""
    experts: Literal["both", "high", "low"] = "both"
    """Of a model of two networks (Wan2.2 A14B): the one for high noise, the one for low noise, or both are trained.
    With one of them, noise levels are drawn from its range alone."""
