"""Where Wan's decoder may be cut into tiles, what a tile must look at, and what that costs: arithmetic on sizes.

After its attention the decoder is local: 3x3 convolutions, nearest upsampling and norms over channels. A tile's pixels
therefore hang on a bounded part of every layer's input, and a layer that sees this part, and true borders where the
part ends at them, gives the same numbers as one that sees everything. The part shrinks from layer to layer: at the
published sizes it reaches 12 latents beyond the tile in the first and cheapest layer, one pixel in the last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

from torch import nn

from cinetune.errors import RecipeError, WeightsError

LOCAL = {"WanCausalConv3d", "Conv2d", "WanUpsample", "WanRMS_norm", "SiLU", "Dropout", "Identity", "DupUp3D"}
"""Modules that look at a bounded neighbourhood, or at one pixel."""
Span = tuple[int, int]
"""First pixel and the one after the last, along one side."""


@dataclass(frozen=True)
class Tile:
    """A rectangle of a video, in latents."""

    rows: Span
    columns: Span


@dataclass(frozen=True)
class Layer:
    """A module of the decoder's local part, called with an input, kept frames and [0]."""

    module: Any
    reach: int
    """Pixels on each side of one of its output that it looks at, counted after its upsampling."""
    scale: int
    """Side of its output over side of its input."""
    work: int
    """Multiply-adds for a pixel of its input, for every latent frame but the first, which takes less."""
    opens: bool = False
    """Whether a block with a shortcut around it begins here."""
    shortcut: Any = None
    """What is added to its output: a module that gets the input of the layer where its block began."""


def describe(module: nn.Module, frames: int, **block: Any) -> Layer:
    """Return what a tile must know of a module that is given `frames` frames for a latent frame.

    Raises:
        WeightsError: it holds something that may look at a whole frame.
    """
    leaves = [leaf for leaf in module.modules() if not any(leaf.children())]
    for leaf in leaves:
        if type(leaf).__name__ not in LOCAL:
            raise WeightsError(f"this VAE's decoder holds a {type(leaf).__name__}, which may look at whole frames; "
                               "decode it in one tile")  # fmt: skip
    convolutions = [leaf for leaf in leaves if isinstance(leaf, nn.Conv2d | nn.Conv3d)]
    upsampling: list[Any] = [leaf for leaf in leaves if isinstance(leaf, nn.Upsample)]
    scale = int(prod(leaf.scale_factor[0] for leaf in upsampling))
    per_picture = frames * lengthens(module) * scale**2
    work = [c.weight.numel() * (per_picture if isinstance(c, nn.Conv2d) else frames) for c in convolutions]
    return Layer(module, sum(c.kernel_size[-1] // 2 for c in convolutions), scale, sum(work), **block)


def lengthens(module: Any) -> int:
    """Return how many frames a module of the decoder makes of one."""
    return 2 if hasattr(module, "time_conv") else 1


def spans(layers: Sequence[Layer], wanted: Span, size: int) -> list[Span]:
    """Return the part of each layer's input, and last of the output, from which a tile's pixels follow.

    Args:
        layers: of the local part, in order.
        wanted: the tile along one side, in latents.
        size: latents along this side of the whole.
    """
    scale = prod(layer.scale for layer in layers)
    start, stop, end = wanted[0] * scale, wanted[1] * scale, size * scale
    found = [(start, stop)]
    for layer in reversed(layers):
        start = max(0, start - layer.reach) // layer.scale
        stop = -(-min(end, stop + layer.reach) // layer.scale)
        end //= layer.scale
        found.append((start, stop))
    return found[::-1]


def work(layers: Sequence[Layer], tile: Tile, height: int, width: int) -> int:
    """Return the multiply-adds of one tile of a video of height x width latents, for a latent frame."""
    rows, columns = spans(layers, tile.rows, height), spans(layers, tile.columns, width)
    areas = [(r[1] - r[0]) * (c[1] - c[0]) for r, c in zip(rows, columns, strict=True)]
    return sum(layer.work * area for layer, area in zip(layers, areas, strict=False))


def overhead(layers: Sequence[Layer], tiles: Sequence[Tile], height: int, width: int) -> float:
    """Return the work of all tiles over the work of the whole: 1 and what is done twice around the seams."""
    whole = work(layers, Tile((0, height), (0, width)), height, width)
    return sum(work(layers, tile, height, width) for tile in tiles) / whole


def plan_tiles(height: int, width: int, grid: tuple[int, int]) -> list[Tile]:
    """Cut height x width latents into rows x columns tiles, row after row, whose sides differ by one latent at most.

    Raises:
        RecipeError: more rows or columns than latents, or none.
    """
    cuts = []
    for size, count in zip((height, width), grid, strict=True):
        if not 1 <= count <= size:
            raise RecipeError(f"{grid[0]}x{grid[1]} tiles do not fit {height}x{width} latents; ask for fewer")
        edges = [size * n // count for n in range(count + 1)]
        cuts.append(list(pairwise(edges)))
    return [Tile(rows, columns) for rows in cuts[0] for columns in cuts[1]]


def choose_grid(layers: Sequence[Layer], height: int, width: int, count: int) -> tuple[int, int]:
    """Return rows and columns of `count` tiles, the largest of which is least work; of equals, that of fewer rows.

    Raises:
        RecipeError: no grid of this many tiles fits.
    """
    grids = [(rows, count // rows) for rows in range(1, min(count, height) + 1) if count % rows == 0]
    fitting = [grid for grid in grids if grid[1] <= width]
    if not fitting:
        raise RecipeError(f"{count} tiles do not fit {height}x{width} latents; ask for another number")
    return min(fitting, key=lambda g: max(work(layers, t, height, width) for t in plan_tiles(height, width, g)))
