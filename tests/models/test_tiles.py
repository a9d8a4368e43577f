import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import tile_ranks
from cinetune.doctor.vae import LiveBytes
from cinetune.errors import RecipeError, WeightsError
from cinetune.models import _tiles, nano
from cinetune.models._decoder import WanDecoder
from cinetune.models._tile_plan import Tile, choose_grid, overhead, plan_tiles, spans, work
from cinetune.models._tiles import choose_tiles, decode_tiles, local_layers
from cinetune.nano.vae import build

CPU = torch.device("cpu")
PATCHED: Any = {"decoder_base_dim": 8, "base_dim": 4, "in_channels": 12, "out_channels": 12, "patch_size": 2}
KINDS: dict[str, dict[str, Any]] = {
    "wan2.1": {"base_dim": 4},
    "wan2.2 5B": PATCHED | {"is_residual": True, "scale_factor_spatial": 16},
    "patches": PATCHED | {"dim_mult": [1, 2, 4], "temperal_downsample": [True, True], "num_res_blocks": 1},
}
"""The published layouts with few channels: two residual blocks a level or one, shortcuts or none, patches or none."""


def small(kind: str) -> Any:
    """A VAE of random weights, biases and norms included."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = AutoencoderKLWan(**KINDS[kind]).eval()
        for weight in vae.parameters():
            if weight.ndim == 1:
                weight.data.normal_(std=0.3)
    return vae


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def whole(vae: Any, latents: Tensor) -> Tensor:
    with torch.no_grad():
        decoded: Tensor = vae.decode(latents).sample
    return decoded


def off(a: Tensor, b: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.fixture(scope="module")
def published() -> Any:
    """The published VAE's decoder, without memory."""
    with torch.device("meta"):
        return AutoencoderKLWan().eval()


@pytest.mark.parametrize("kind", KINDS)
def test_tiles_equal_the_whole(kind: str) -> None:
    """An odd size, a batch, three latent frames, so that all kinds of kept frames are met; seams near borders."""
    vae, latents = small(kind), noise(2, 16, 3, 5, 7)
    expected = whole(vae, latents)
    assert torch.equal(decode_tiles(vae, latents, (1, 1)), expected)
    for grid in ((2, 2), (1, 3), (5, 1)):
        assert off(decode_tiles(vae, latents, grid), expected) < 1e-5, grid


@pytest.mark.parametrize("tiles", [2, 4])
def test_the_embedded_model_at_its_own_size(tiles: int) -> None:
    decoder = nano.MODEL.load_decoder(CPU)
    assert isinstance(decoder, WanDecoder)
    latents = noise(1, 16, 5, 8, 12)
    assert off(replace(decoder, tiles=tiles).decode(latents), decoder.decode(latents)) < 1e-5


@pytest.mark.slow
def test_the_published_shape() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae: Any = AutoencoderKLWan().eval()
    latents = noise(1, 16, 2, 5, 9)
    assert off(decode_tiles(vae, latents, (1, 2)), whole(vae, latents)) < 1e-5


def test_a_narrower_tile_shows_its_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pixel less in one layer, in double precision, where rounding is far below; and diffusers' own tiling."""
    vae, latents = small("patches").double(), noise(1, 16, 2, 4, 24).double()
    expected, layers = whole(vae, latents), local_layers(vae)
    assert off(decode_tiles(vae, latents, (1, 2)), expected) < 1e-13
    for n in (n for n, layer in enumerate(layers) if layer.scale == 1):  # upsampled pairs may hold one to spare
        less = [replace(layer, reach=layer.reach - (i == n)) for i, layer in enumerate(layers)]
        with monkeypatch.context() as patched:
            patched.setattr(_tiles, "local_layers", lambda _, less=less: less)
            assert off(decode_tiles(vae, latents, (1, 2)), expected) > 1e-10, n
    vae.enable_tiling(64, 64, 48, 48)
    assert off(whole(vae, latents), expected) > 1e-2


@pytest.mark.parametrize("kind", KINDS)
def test_spans_are_where_gradients_come_from(kind: str) -> None:
    """Of all pixels of some latents, through two frames, in double precision: not one row more, not one less."""
    layers = local_layers(small(kind).double())
    middle = torch.randn(1, layers[0].module.in_dim, 2, 3, 30, dtype=torch.double, requires_grad=True)
    for columns in ((14, 15), (0, 2), (29, 30)):
        parts = list(_tiles._tile(layers, middle, Tile((0, 3), (0, 30))))
        side = parts[-1].shape[-1] // 30
        seen = parts[-1][..., columns[0] * side : columns[1] * side].square().sum()
        gradient = torch.autograd.grad(seen, middle)[0].abs().amax(dim=(0, 1, 2, 3)).nonzero().flatten().tolist()
        assert (gradient[0], gradient[-1] + 1) == spans(layers, columns, 30)[0], columns


@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (7, 5)])
def test_each_latent_is_in_one_tile(grid: tuple[int, int]) -> None:
    count = torch.zeros(7, 11)
    tiles = plan_tiles(7, 11, grid)
    for tile in tiles:
        count[slice(*tile.rows), slice(*tile.columns)] += 1
    assert (count == 1).all()
    assert len(tiles) == grid[0] * grid[1]


def test_work_is_that_of_a_flop_counter(published: Any) -> None:
    """Two operations a multiply-add, to the last one, for the whole and for tiles."""
    layers = local_layers(published)

    def later(call: Any) -> int:
        """Operations for each latent frame after the first."""
        counts = []
        for frames in (2, 3):
            with torch.no_grad(), FlopCounterMode(display=False) as counted:
                call(torch.empty(1, 16, frames, 12, 20, device="meta"))
            counts.append(counted.get_total_flops())
        return int(counts[1] - counts[0])

    middle = later(lambda z: _tiles._until_attention(published, z))
    assert 2 * work(layers, Tile((0, 12), (0, 20)), 12, 20) == later(published.decode) - middle
    tiles = plan_tiles(12, 20, (2, 2))
    in_tiles = later(lambda z: decode_tiles(published, z, (2, 2))) - middle
    assert 2 * sum(work(layers, tile, 12, 20) for tile in tiles) == in_tiles
    assert overhead(layers, tiles, 12, 20) == pytest.approx(in_tiles / (later(published.decode) - middle), rel=1e-12)


def test_the_published_vae_at_720p(published: Any) -> None:
    """What the docstrings say; the grid is no worse than any other."""
    layers = local_layers(published)
    assert spans(layers, (80, 90), 160)[0] == (67, 103)
    for count, times in {2: 1.028, 4: 1.080, 8: 1.140}.items():
        grid = choose_grid(layers, 90, 160, count)
        assert overhead(layers, plan_tiles(90, 160, grid), 90, 160) == pytest.approx(times, abs=6e-4)
        slowest = [
            max(work(layers, tile, 90, 160) for tile in plan_tiles(90, 160, (rows, count // rows)))
            for rows in range(1, count + 1)
            if count % rows == 0
        ]
        assert max(work(layers, tile, 90, 160) for tile in plan_tiles(90, 160, grid)) == min(slowest)
    assert choose_grid(layers, 160, 90, 8) == (4, 2)


def test_tiles_take_less_memory(published: Any) -> None:
    latents = torch.empty(1, 16, 2, 30, 52, device="meta")
    peaks = []
    for tiles in (1, 4):
        with torch.no_grad(), LiveBytes() as live:
            WanDecoder(published, latents.device, tiles)._decode(latents)
        peaks.append(live.peak)
    assert peaks[1] < 0.45 * peaks[0]


def test_refusals() -> None:
    vae = build(0, base_dim=8)
    with pytest.raises(RecipeError, match="3x1 tiles do not fit 2x4 latents; ask for fewer"):
        plan_tiles(2, 4, (3, 1))
    with pytest.raises(RecipeError, match="0x1 tiles"):
        plan_tiles(2, 4, (0, 1))
    with pytest.raises(RecipeError, match="5 tiles do not fit 2x4 latents"):
        choose_tiles(vae, noise(1, 16, 1, 2, 4), 5)
    vae.decoder.up_blocks[0].resnets[0].norm1 = nn.GroupNorm(4, 32)
    with pytest.raises(WeightsError, match="GroupNorm, which may look at whole frames; decode it in one tile"):
        decode_tiles(vae, noise(1, 16, 1, 2, 4), (1, 2))


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of four processes found."""
    folder = tmp_path_factory.mktemp("ranks")
    found = subprocess.run([sys.executable, tile_ranks.__file__, folder], capture_output=True, text=True, timeout=240)
    assert found.returncode == 0, found.stderr
    return [torch.load(Path(folder) / f"{rank}.pt") for rank in range(4)]


def test_processes_share_the_tiles(ranks: list[dict[str, Any]]) -> None:
    """Every one gets the whole video: the bits of the same tiles in one process, and the whole up to rounding."""
    vae, latents = build(0, base_dim=8).eval(), tile_ranks.latents()
    expected = whole(vae, latents)
    for name, grid in tile_ranks.GRIDS.items():
        alone = decode_tiles(vae, latents, grid)
        assert off(alone, expected) < 1e-5
        for found in [rank[f"4 {name}"] for rank in ranks] + [rank[f"2 {name}"] for rank in ranks[:2]]:
            assert torch.equal(found, alone), name
    for tiles in (2, 6):
        alone = WanDecoder(vae, CPU, tiles=tiles).decode(latents)
        for rank in ranks[:2]:
            assert torch.equal(rank["2 decoder" if tiles == 2 else "2 decoder of 6"], alone)
    half = decode_tiles(vae.to(torch.bfloat16), latents.bfloat16(), (1, 2))
    assert half.dtype == torch.bfloat16
    assert torch.equal(ranks[1]["2 bf16"], half)


def test_a_process_that_fails_ends_all(ranks: list[dict[str, Any]]) -> None:
    line = "RunError: process 2 could not decode its tiles of the video; its own message says why"
    assert [rank["error"] for rank in ranks] == [line, line, "MemoryError: no room", line]
