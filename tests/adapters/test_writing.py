import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made import TARGETS, adapter_for, same
from safetensors import safe_open
from safetensors.torch import load_file

from cinetune.adapters.form import Adapter, Layer
from cinetune.adapters.reading import read_adapter
from cinetune.adapters.writing import FORMATS, convert, write_adapter
from cinetune.errors import WeightsError

PAIRS = list(itertools.product(FORMATS, FORMATS))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_there_and_back_is_the_same_bits(tmp_path: Path, first: str, second: str, target: str) -> None:
    """Scales of powers of two survive even the folding of the default `wan` export."""
    adapter = adapter_for(target, ranks=(4, 8, 2), alphas=(8.0, 4.0))
    assert len({layer.scale for layer in adapter.layers.values()}) > 2
    write_adapter(tmp_path / "1.safetensors", adapter, first)
    convert(tmp_path / "1.safetensors", tmp_path / "2.safetensors", second)
    convert(tmp_path / "2.safetensors", tmp_path / "3.safetensors", first)
    for n, form in ((1, first), (2, second), (3, first)):
        again = read_adapter(tmp_path / f"{n}.safetensors")
        assert again.format == form
        assert same(again, adapter)
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "3.safetensors").read_bytes()


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_any_alpha_survives_where_it_is_kept(tmp_path: Path, first: str, second: str) -> None:
    adapter = adapter_for(ranks=(7, 3), alphas=(24.0, 1.0, 5.5))
    write_adapter(tmp_path / "1.safetensors", adapter, first, keep_alpha=True)
    convert(tmp_path / "1.safetensors", tmp_path / "2.safetensors", second, keep_alpha=True)
    assert same(read_adapter(tmp_path / "2.safetensors"), adapter)


def test_keys_as_each_tool_spells_them(tmp_path: Path) -> None:
    adapter = adapter_for()
    layer = adapter.layers["blocks.2.attn2.add_k_proj"]
    keys = {
        "wan": "diffusion_model.blocks.2.cross_attn.k_img.lora_A.weight",
        "diffusers": "transformer.blocks.2.attn2.add_k_proj.lora_A.weight",
        "kohya": "lora_unet_blocks_2_cross_attn_k_img.lora_down.weight",
    }
    for form, key in keys.items():
        write_adapter(tmp_path / f"{form}.safetensors", adapter, form)
        state = load_file(tmp_path / f"{form}.safetensors")
        assert torch.equal(state[key], layer.a)
        assert len(state) == 36 * (3 if form == "kohya" else 2)
    assert load_file(tmp_path / "kohya.safetensors")["lora_unet_blocks_2_cross_attn_k_img.alpha"].item() == 8.0


def test_the_default_export_needs_no_alpha(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Readers that take alpha for the rank get the right strength: it is in lora_B, rounded once."""
    adapter = adapter_for(ranks=(7,), alphas=(24.0,))
    write_adapter(tmp_path / "a.safetensors", adapter, "wan")
    assert "--keep-alpha" in capsys.readouterr().err
    state = load_file(tmp_path / "a.safetensors")
    assert not [key for key in state if key.endswith("alpha")]
    for block in range(6):
        layer = adapter.layers[f"blocks.{block}.attn2.to_q"]
        wanted = (layer.b.double() * 24 / 7).float()
        got = state[f"diffusion_model.blocks.{block}.cross_attn.q.lora_B.weight"]
        assert torch.allclose(got, wanted, rtol=2e-7, atol=0)
    again = read_adapter(tmp_path / "a.safetensors")
    assert {layer.scale for layer in again.layers.values()} == {1.0}
    assert "taken as the rank" in capsys.readouterr().err


def test_rslora_keeps_its_rule_or_its_scale(tmp_path: Path) -> None:
    adapter = adapter_for(ranks=(4, 16, 7), alphas=(8.0,), rslora=True)
    for form in FORMATS:
        write_adapter(tmp_path / f"{form}.safetensors", adapter, form, keep_alpha=True)
    assert same(read_adapter(tmp_path / "diffusers.safetensors"), adapter)
    for form in ("wan", "kohya"):
        for name, layer in read_adapter(tmp_path / f"{form}.safetensors").layers.items():
            assert layer.rslora is False
            assert layer.scale == pytest.approx(8 / adapter.layers[name].rank ** 0.5, rel=1e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_precision_is_kept_unless_asked(tmp_path: Path, dtype: torch.dtype) -> None:
    adapter = adapter_for(dtype=dtype)
    for first, second in PAIRS:
        write_adapter(tmp_path / "1.safetensors", adapter, first)
        convert(tmp_path / "1.safetensors", tmp_path / "2.safetensors", second)
        assert same(read_adapter(tmp_path / "2.safetensors"), adapter)
    convert(tmp_path / "1.safetensors", tmp_path / "3.safetensors", "wan", dtype="fp32")
    assert read_adapter(tmp_path / "3.safetensors").dtypes == [torch.float32]


def test_same_adapter_same_bytes(tmp_path: Path) -> None:
    for form in FORMATS:
        for n in (1, 2):
            write_adapter(tmp_path / f"{n}.safetensors", adapter_for(), form)
        assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()
        with safe_open(tmp_path / "1.safetensors", "pt") as file:
            assert len(file.metadata() or {}) <= 1


def test_a_convolution_is_carried_along(tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(0)
    layer = Layer(torch.randn(3, 36, 1, 2, 2, generator=g), torch.randn(192, 3, 1, 1, 1, generator=g), 6.0)
    for form in FORMATS:
        write_adapter(tmp_path / "a.safetensors", Adapter({"patch_embedding": layer}, "wan"), form)
        again = read_adapter(tmp_path / "a.safetensors")
        assert same(again, Adapter({"patch_embedding": layer}, form))
        assert again.format == form


def test_what_cannot_be_written(tmp_path: Path) -> None:
    adapter = adapter_for()
    path = tmp_path / "a.safetensors"
    large = {name: Layer(layer.a, layer.b * 1e6, layer.alpha) for name, layer in adapter.layers.items()}
    with pytest.raises(WeightsError, match="too large for fp16; write it with --dtype fp32"):
        write_adapter(path, Adapter(large, "wan"), "wan", dtype="fp16")
    broken = {name: Layer(layer.a, layer.b * float("nan"), layer.alpha) for name, layer in adapter.layers.items()}
    with pytest.raises(WeightsError, match="would not be finite"):
        write_adapter(path, Adapter(broken, "wan"), "kohya")
    with pytest.raises(WeightsError, match="choose wan, diffusers, kohya"):
        write_adapter(path, adapter, "comfy")
    with pytest.raises(WeightsError, match="choose fp32, fp16, bf16"):
        write_adapter(path, adapter, "wan", dtype="fp8")
    with pytest.raises(WeightsError, match=r"ends in \.safetensors"):
        write_adapter(tmp_path / "a.pt", adapter, "wan")
    assert list(tmp_path.iterdir()) == []
    write_adapter(path, adapter, "wan")
    with pytest.raises(WeightsError, match="is the file to be read"):
        convert(path, path, "kohya")
    assert read_adapter(path).format == "wan"


def test_magnitudes_stay_in_diffusers_and_are_refused_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    g, plain = torch.Generator().manual_seed(0), adapter_for(ranks=(4, 2))
    layers = {n: replace(x, magnitude=torch.rand(len(x.b), generator=g)) for n, x in plain.layers.items()}
    write_adapter(tmp_path / "a.safetensors", Adapter(layers, "diffusers"), "diffusers")
    again = read_adapter(tmp_path / "a.safetensors")
    assert all(torch.equal(again.layers[n].magnitude, x.magnitude) for n, x in layers.items())
    for form in ("wan", "kohya"):
        with pytest.raises(WeightsError, match=f"{form} files have no one meaning for DoRA"):
            convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", form)
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", form, drop=True)
        assert "left out DoRA's magnitudes" in capsys.readouterr().err
        assert same(read_adapter(tmp_path / "b.safetensors"), plain)


def test_a_dora_without_a_magnitude_is_incomplete(tmp_path: Path) -> None:
    plain = adapter_for()
    first = next(iter(plain.layers))
    layers = {n: replace(x, magnitude=torch.ones(len(x.b)) if n != first else None) for n, x in plain.layers.items()}
    write_adapter(tmp_path / "a.safetensors", Adapter(layers, "diffusers"), "diffusers")
    with pytest.raises(WeightsError, match=r"add_k_proj\.lora_A\.weight has no magnitude and its metadata says DoRA"):
        read_adapter(tmp_path / "a.safetensors")
