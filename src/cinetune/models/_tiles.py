"""Wan's decoder in tiles whose seams are exact: in one process for less memory, or over processes for less time.

diffusers' own tiling cuts the latents, so that the attention sees a tile alone, and blends what does not fit. Here the
whole frame goes through the layers up to the attention, which are small, and only what comes after is cut
(`_tile_plan`). One tile is decoded over all frames before the next, because the frames that causal convolutions keep
are most of the memory.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, distributed, nn

from cinetune.errors import RunError
from cinetune.models._contract import Latents, Pixels
from cinetune.models._tile_plan import Layer, Span, Tile, choose_grid, describe, lengthens, plan_tiles, spans

KEPT = 2
"""Frames that a causal convolution keeps of what it has seen."""


class Head(nn.Module):
    """The decoder's last layer; diffusers writes it out within the decoder."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        self.norm, self.nonlinearity, self.conv = decoder.norm_out, decoder.nonlinearity, decoder.conv_out

    def forward(self, x: Tensor, kept: list[Any], _: list[int]) -> Tensor:
        """Return the pixels, before patches are laid out."""
        return causal(self.conv, self.nonlinearity(self.norm(x)), kept)


def causal(conv: Any, x: Tensor, kept: list[Any]) -> Tensor:
    """Convolve `x` behind the frames that are kept, and keep its last ones."""
    before, last = kept[0], x[:, :, -KEPT:]
    kept[0] = (last if before is None else torch.cat([before, last], dim=2))[:, :, -KEPT:].clone()
    y: Tensor = conv(x, before)
    return y


def local_layers(vae: Any) -> list[Layer]:
    """Return the layers after the decoder's attention, in order.

    Raises:
        WeightsError: one of them may look at a whole frame.
    """
    layers, frames = [], 1
    for block in vae.decoder.up_blocks:
        shortcut = getattr(block, "avg_shortcut", None)
        modules = [*block.resnets, *(m for m in block.modules() if hasattr(m, "resample"))]
        for n, module in enumerate(modules):
            opens, closes = n == 0 and shortcut is not None, n == len(modules) - 1
            layers.append(describe(module, frames, opens=opens, shortcut=shortcut if closes else None))
            frames *= lengthens(module)
    return [*layers, describe(Head(vae.decoder), frames)]


def choose_tiles(vae: Any, latents: Latents, count: int) -> tuple[int, int]:
    """Return rows and columns of the grid of `count` tiles whose largest tile is least work.

    Raises:
        RecipeError: no grid of this many tiles fits the latents.
        WeightsError: the VAE cannot be cut.
    """
    return choose_grid(local_layers(vae), latents.shape[3], latents.shape[4], count)


@torch.no_grad()
def decode_tiles(vae: Any, latents: Latents, grid: tuple[int, int]) -> Pixels:
    """Return what `vae.decode` returns, decoded in a grid of rows x columns tiles, one after another.

    One tile gives the same bits. More give the same up to the rounding of convolutions, which may add in another order
    at another size: 1e-6 in fp32, that of the number format in bf16 or TF32.

    Counted for the published VAE in fp32 on 81 frames of 720x1280, without weights: whole 17.5 GiB; 2, 4, 8 and 16
    tiles 9.0, 5.3, 3.4 and 2.4 GiB, for 1.03, 1.08, 1.14 and 1.26 times the work. 480x832: whole 7.6 GiB; 3.9, 2.3, 1.5
    and 1.1 GiB, for 1.04, 1.12, 1.22 and 1.41 times the work.

    Args:
        vae: an AutoencoderKLWan, of Wan2.1 or of Wan2.2 5B.
        latents: as the VAE takes them (not normalised), on its device and in its dtype.
        grid: rows and columns of tiles.

    Raises:
        RecipeError: the grid does not fit the latents.
        WeightsError: the VAE cannot be cut.
    """
    return _decode(vae, latents, plan_tiles(latents.shape[3], latents.shape[4], grid))


@torch.no_grad()
def decode_parallel(
    vae: Any, latents: Latents, grid: tuple[int, int], group: distributed.ProcessGroup | None = None
) -> Pixels:
    """Return what `decode_tiles` returns, bit for bit, on every process of the group; each decodes its share of tiles.

    Tile n belongs to process n modulo their number. All hold the same weights and latents, and all do the layers up to
    the attention.

    What 2, 4 and 8 processes can gain with the published VAE, by the operations of the slowest: 1.90, 3.46 and 5.93
    times at 720x1280, 1.88, 3.39 and 5.69 times at 480x832. The layers up to the attention are 2.6 % and 2.0 % of all.

    Args:
        vae: as in `decode_tiles`.
        latents: likewise.
        grid: rows and columns of tiles.
        group: the processes; None: all of them.

    Raises:
        RecipeError: the grid does not fit the latents.
        RunError: another process could not decode its tiles.
        WeightsError: the VAE cannot be cut.
    """
    rank, world = distributed.get_rank(group), distributed.get_world_size(group)
    tiles = plan_tiles(latents.shape[3], latents.shape[4], grid)
    failure: Exception | None = None
    try:
        pixels = _decode(vae, latents, tiles[rank::world])
    except Exception as error:  # raised below, once the others know
        failure = error
    failed = torch.tensor(rank + 1 if failure else 0, device=latents.device)
    distributed.all_reduce(failed, distributed.ReduceOp.MAX, group)
    if failure is not None:
        raise failure
    if failed:
        raise RunError(f"process {int(failed) - 1} could not decode its tiles of the video; its own message says why")
    for n, tile in enumerate(tiles):
        part = _at(pixels, tile, latents)
        sent = part.contiguous()
        distributed.broadcast(sent, group=group, group_src=n % world)
        part.copy_(sent)
    return pixels


def _decode(vae: Any, latents: Tensor, tiles: Sequence[Tile]) -> Tensor:
    """Return the whole video, of which only these tiles are filled in."""
    layers = local_layers(vae)
    middle = _until_attention(vae, latents) if tiles else latents
    patch = vae.config.patch_size or 1
    side = patch * prod(layer.scale for layer in layers)
    batch, _, count, height, width = latents.shape
    frames = 1 + (count - 1) * prod(lengthens(layer.module) for layer in layers)
    channels = vae.decoder.conv_out.out_channels // patch**2
    pixels = latents.new_empty(batch, channels, frames, height * side, width * side)
    for tile in tiles:
        whole, done = _at(pixels, tile, latents), 0
        for part in _tile(layers, middle, tile):
            laid = _lay_out(part, patch).clamp_(-1, 1)
            whole[:, :, done : done + laid.shape[2]] = laid
            done += laid.shape[2]
    return pixels


def _until_attention(vae: Any, latents: Tensor) -> Tensor:
    """Return the output of the decoder's middle block, b c lf lh lw, made frame after frame as diffusers does."""
    decoder = vae.decoder
    first, later = [None], [None] * _causal_count(decoder.mid_block)
    x = vae.post_quant_conv(latents)
    middle: Tensor = x.new_empty(x.shape[0], decoder.conv_in.out_channels, *x.shape[2:])
    for n in range(x.shape[2]):
        middle[:, :, n : n + 1] = decoder.mid_block(causal(decoder.conv_in, x[:, :, n : n + 1], first), later, [0])
    return middle


def _tile(layers: Sequence[Layer], middle: Tensor, tile: Tile) -> Iterator[Tensor]:
    """Yield a tile's output for each latent frame."""
    rows, columns = spans(layers, tile.rows, middle.shape[3]), spans(layers, tile.columns, middle.shape[4])
    parts = list(zip(rows, columns, strict=True))
    kept: list[list[Any]] = [[None] * _causal_count(layer.module) for layer in layers]
    for n in range(middle.shape[2]):
        x = middle[:, :, n : n + 1, slice(*rows[0]), slice(*columns[0])]
        block, began = x, parts[0]
        for i, layer in enumerate(layers):
            if layer.opens:
                block, began = x, parts[i]
            x = _cut(layer.module(x, kept[i], [0]), parts[i], parts[i + 1], layer.scale)
            if layer.shortcut is not None:
                around = layer.shortcut(block, first_chunk=n == 0)
                x = x + _cut(around, began, parts[i + 1], layer.shortcut.factor_s)
        yield x


def _cut(x: Tensor, given: tuple[Span, Span], wanted: tuple[Span, Span], scale: int) -> Tensor:
    """Return the wanted part of an output `x` whose input was the given part, `scale` times smaller."""
    (top, left), (rows, columns) = (given[0][0] * scale, given[1][0] * scale), wanted
    return x[..., rows[0] - top : rows[1] - top, columns[0] - left : columns[1] - left]


def _at(pixels: Tensor, tile: Tile, latents: Tensor) -> Tensor:
    """Return the tile of the video, to be written."""
    side = pixels.shape[3] // latents.shape[3]
    return pixels[..., slice(*(side * n for n in tile.rows)), slice(*(side * n for n in tile.columns))]


def _lay_out(x: Tensor, patch: int) -> Tensor:
    """Lay out pixels that are channels: b (c px py) f h w to b c f (h py) (w px)."""
    b, c, f, h, w = x.shape
    patches = x.reshape(b, c // patch**2, patch, patch, f, h, w)
    return patches.permute(0, 1, 4, 5, 3, 6, 2).reshape(b, c // patch**2, f, h * patch, w * patch)


def _causal_count(module: nn.Module) -> int:
    """Return how many causal convolutions may keep frames."""
    return sum(isinstance(m, nn.Conv3d) for m in module.modules())
