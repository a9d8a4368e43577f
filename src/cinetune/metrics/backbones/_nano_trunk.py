"""The convolution trunk of the package's own frame networks."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (16, 32, 64, 96)
"""Channels of the maps at 1/2, 1/4, 1/8 and 1/16 of the frame."""


class Stage(nn.Module):
    """Halve the size with one convolution, then refine with a second one beside a shortcut."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(inner, outer, 3, stride=2, padding=1, bias=False)
        self.down_norm = nn.BatchNorm2d(outer)
        self.refine = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.refine_norm = nn.BatchNorm2d(outer)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k hh ww"]:
        x = F.relu(self.down_norm(self.down(x)))
        return F.relu(x + self.refine_norm(self.refine(x)))


class NanoTrunk(nn.Module):
    """Four stages; returns the map of each. About 210,000 weights."""

    def __init__(self) -> None:
        super().__init__()
        inner = (3, *WIDTHS[:-1])
        self.stages = nn.ModuleList([Stage(a, b) for a, b in zip(inner, WIDTHS, strict=True)])

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
