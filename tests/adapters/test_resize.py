import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made import adapter_for
from rich.console import Console

from cinetune.adapters.form import Adapter, Layer
from cinetune.adapters.reading import read_adapter
from cinetune.adapters.resize import resize, show, shrink
from cinetune.adapters.writing import FORMATS, write_adapter
from cinetune.errors import RecipeError, WeightsError


@pytest.mark.parametrize("form", FORMATS)
def test_it_is_the_best_approximation(tmp_path: Path, form: str) -> None:
    adapter = adapter_for(ranks=(8,), alphas=(12.0,))
    write_adapter(tmp_path / "a.safetensors", adapter, form)
    kept = resize(tmp_path / "a.safetensors", tmp_path / "b.safetensors", rank=3)
    again = read_adapter(tmp_path / "b.safetensors")
    assert again.format == form
    for name, layer in adapter.layers.items():
        u, s, v = torch.linalg.svd(layer.update().double(), full_matrices=False)
        small = again.layers[name]
        assert (small.rank, small.scale) == (3, 1.0)
        assert torch.allclose(small.update().double(), u[:, :3] * s[:3] @ v[:3], atol=1e-6)
        assert kept[name].energy == pytest.approx((s[:3].square().sum() / s.square().sum()).item(), abs=1e-6)
        assert (kept[name].before, kept[name].rank) == (8, 3)


def test_the_rank_that_an_update_really_has_loses_nothing() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(3, 20, generator=g), torch.randn(30, 3, generator=g)
    mix = torch.randn(8, 3, generator=g)
    layer = Layer(mix @ a, b @ torch.linalg.pinv(mix), 24.0)  # rank 8 on paper, 3 in truth
    small, kept = shrink(layer, rank=3, energy=None, name="layer")
    assert torch.allclose(small.update(), layer.update(), atol=1e-4)
    assert kept.energy == pytest.approx(1.0, abs=1e-9)


def test_full_rank_or_more_changes_nothing(tmp_path: Path) -> None:
    layer = next(iter(adapter_for(ranks=(8,)).layers.values()))
    for rank in (8, 9):
        assert shrink(layer, rank=rank, energy=None, name="layer")[0] is layer
    small, _ = shrink(layer, rank=None, energy=1.0, name="layer")
    assert torch.allclose(small.update(), layer.update(), atol=1e-6)


def test_each_layer_gets_the_rank_its_energy_needs(tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(0)
    steep = torch.tensor([1.0, 0.01, 0.01, 0.01]).diag()
    flat = torch.eye(4)
    q = torch.linalg.qr(torch.randn(10, 4, generator=g))[0]
    layers = {
        "blocks.0.attn2.to_k": Layer(q.T.clone(), (q @ steep).contiguous(), 4.0),
        "blocks.0.attn2.to_q": Layer(q.T.clone(), (q @ flat).contiguous(), 4.0),
        "blocks.0.attn2.to_v": Layer(q.T.clone(), torch.zeros(10, 4), 4.0),
    }
    write_adapter(tmp_path / "a.safetensors", Adapter(layers, "diffusers"), "diffusers")
    kept = resize(tmp_path / "a.safetensors", tmp_path / "b.safetensors", energy=0.9)
    assert [k.rank for k in kept.values()] == [1, 4, 1]
    assert kept["blocks.0.attn2.to_k"].energy == pytest.approx(1 / 1.0003, abs=1e-6)
    assert kept["blocks.0.attn2.to_v"].energy is None
    again = read_adapter(tmp_path / "b.safetensors")
    assert [layer.rank for layer in again.layers.values()] == [1, 4, 1]
    console = Console(width=120, record=True, file=io.StringIO())
    show(kept, console)
    assert "zero update" in console.export_text()


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("form", FORMATS)
def test_the_leading_ranks_as_they_are(tmp_path: Path, form: str, rslora: bool) -> None:
    adapter = adapter_for(ranks=(8, 2), alphas=(16.0,), rslora=rslora)
    write_adapter(tmp_path / "a.safetensors", adapter, form)
    kept = resize(tmp_path / "a.safetensors", tmp_path / "b.safetensors", rank=4, leading=True)
    again = read_adapter(tmp_path / "b.safetensors")
    for name, layer in adapter.layers.items():
        rank = min(4, layer.rank)
        wanted = layer.scale * layer.b[:, :rank] @ layer.a[:rank]
        assert torch.allclose(again.layers[name].update(), wanted, atol=1e-6)
        assert again.layers[name].rank == kept[name].rank == rank
        lost = (layer.update() - wanted).square().sum() / layer.update().square().sum()
        assert kept[name].energy == pytest.approx(1 - lost.item(), abs=1e-5)


def test_a_magnitude_stays() -> None:
    layer = replace(next(iter(adapter_for(ranks=(8,)).layers.values())), magnitude=torch.rand(192))
    for leading in (False, True):
        small, _ = shrink(layer, rank=2, energy=None, leading=leading, name="layer")
        assert small.magnitude is layer.magnitude


def test_bad_wishes(tmp_path: Path) -> None:
    write_adapter(tmp_path / "a.safetensors", adapter_for(), "wan")
    bad = ({}, {"rank": 2, "energy": 0.5}, {"rank": 0}, {"energy": 0.0}, {"energy": 1.5},
           {"energy": 0.5, "leading": True})  # fmt: skip
    for wish in bad:
        with pytest.raises(RecipeError, match="resize"):
            resize(tmp_path / "a.safetensors", tmp_path / "b.safetensors", **wish)
    broken = Layer(torch.full((2, 3), float("nan")), torch.ones(3, 2), 2.0)
    with pytest.raises(WeightsError, match="the layer: weights that are not finite"):
        shrink(broken, rank=1, energy=None, name="the layer")
    assert not (tmp_path / "b.safetensors").exists()
