"""What we write, loaded by diffusers' real pipeline: the same network output as ours."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanImageToVideoPipeline
from made import REGEX, TARGETS, adapter_for, forward

from cinetune.adapters import lora
from cinetune.adapters.form import Adapter, Layer
from cinetune.adapters.merging import merge_into, unmerge
from cinetune.adapters.reading import read_adapter
from cinetune.adapters.targets import choose
from cinetune.adapters.writing import convert, write_adapter
from cinetune.models._wan import CROSS_ATTENTION, WanModel

CLOSE = 1e-5
pytestmark = pytest.mark.filterwarnings("ignore:While injecting the PEFT adapters")
"""diffusers adds image projections of zeros to an adapter without them, and peft wonders where they come from."""


@pytest.fixture(scope="module")
def pipeline(tiny: WanModel) -> Any:
    return WanImageToVideoPipeline.from_pretrained(tiny.source, local_files_only=True)


@pytest.fixture
def base(tiny: WanModel) -> torch.nn.Module:
    return tiny.load_transformer(torch.device("cpu"), torch.float32)


@contextlib.contextmanager
def loaded(pipeline: Any, path: Path) -> Iterator[torch.nn.Module]:
    pipeline.load_lora_weights(path.parent, weight_name=path.name)
    try:
        yield pipeline.transformer
    finally:
        pipeline.unload_lora_weights()


def error(pipeline: Any, path: Path, wanted: torch.Tensor) -> float:
    with loaded(pipeline, path) as network:
        return (forward(network) - wanted).abs().max().item()


def trained(path: Path, network: torch.nn.Module, target: str, rank: int, alpha: float) -> torch.Tensor:
    """Save an adapter as training does, with a B that is not zero, and return the adapted network's output."""
    before = forward(network)
    lora.inject(network, choose(network, target), rank=rank, alpha=alpha, seed=0)
    g = torch.Generator().manual_seed(2)
    for name, weight in network.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn(weight.shape, generator=g) * 0.1
    lora.save(path, network)
    after = forward(network)
    assert (after - before).abs().max() > 1e-2, "an adapter that does nothing would prove nothing"
    return after


@pytest.mark.parametrize("alpha", [4.0, 16.0, 7.0])
@pytest.mark.parametrize("target", TARGETS)
def test_it_loads_with_our_strength(
    tmp_path: Path, pipeline: Any, base: torch.nn.Module, target: str, alpha: float
) -> None:
    wanted = trained(tmp_path / "ours.safetensors", base, target, 4, alpha)
    convert(tmp_path / "ours.safetensors", tmp_path / "wan.safetensors", "wan")
    convert(tmp_path / "wan.safetensors", tmp_path / "diffusers.safetensors", "diffusers")
    assert error(pipeline, tmp_path / "wan.safetensors", wanted) < CLOSE
    assert error(pipeline, tmp_path / "diffusers.safetensors", wanted) < CLOSE
    convert(tmp_path / "ours.safetensors", tmp_path / "kept.safetensors", "wan", keep_alpha=True)
    convert(tmp_path / "kept.safetensors", tmp_path / "kohya.safetensors", "kohya")
    if target != REGEX:
        assert error(pipeline, tmp_path / "kept.safetensors", wanted) < CLOSE
    else:  # diffusers leaves the .alpha of a layer outside the blocks over
        with pytest.raises(ValueError, match="should be empty"), loaded(pipeline, tmp_path / "kept.safetensors"):
            pass
    if target == "all-linear":
        assert error(pipeline, tmp_path / "kohya.safetensors", wanted) < CLOSE
    else:  # diffusers' converter wants every layer of every block; ours does not
        with pytest.raises((KeyError, IndexError)), loaded(pipeline, tmp_path / "kohya.safetensors"):
            pass
    for form in ("wan", "diffusers"):
        convert(tmp_path / "kohya.safetensors", tmp_path / "back.safetensors", form)
        assert error(pipeline, tmp_path / "back.safetensors", wanted) < CLOSE


@pytest.mark.parametrize("form", ["wan", "diffusers"])
def test_ranks_alphas_and_rules_that_differ(tmp_path: Path, pipeline: Any, base: torch.nn.Module, form: str) -> None:
    for rslora in (False, True):
        adapter = adapter_for("all-linear", ranks=(4, 7, 2), alphas=(8.0, 5.0), rslora=rslora)
        kept = merge_into(base, adapter)
        wanted = forward(base)
        unmerge(base, kept)
        write_adapter(tmp_path / "a.safetensors", adapter, form)
        assert error(pipeline, tmp_path / "a.safetensors", wanted) < CLOSE
        assert (wanted - forward(base)).abs().max() > 1e-2


def test_an_adapter_of_text_to_video_leaves_the_image_projections_alone(
    tmp_path: Path, pipeline: Any, base: torch.nn.Module
) -> None:
    pattern = r"blocks\.\d+\.attn2\.(to_[qkv]|to_out\.0)"
    wanted = trained(tmp_path / "ours.safetensors", base, pattern, 4, 16.0)
    adapter = read_adapter(tmp_path / "ours.safetensors")
    assert {name.split(".", 2)[2] for name in adapter.layers} == set(CROSS_ATTENTION)
    for form in ("wan", "diffusers"):
        convert(tmp_path / "ours.safetensors", tmp_path / "t2v.safetensors", form)
        assert error(pipeline, tmp_path / "t2v.safetensors", wanted) < CLOSE
    with loaded(pipeline, tmp_path / "t2v.safetensors") as network:
        added = [w for name, w in network.named_parameters() if "add_k_proj.lora_B" in name]
        assert all(not w.any() for w in added)
    before = {name: w.clone() for name, w in pipeline.transformer.named_parameters()}
    merge_into(pipeline.transformer, adapter)
    changed = {name for name, w in pipeline.transformer.named_parameters() if not torch.equal(w, before[name])}
    for name, weight in pipeline.transformer.named_parameters():
        weight.data = before[name]
    assert changed == {f"{name}.weight" for name in adapter.layers}


def test_text_to_video_with_ranks_that_differ(tmp_path: Path, pipeline: Any, base: torch.nn.Module) -> None:
    whole = adapter_for("cross-attention", ranks=(3, 3, 2, 3, 3, 3), alphas=(8.0,))  # 3 is usual, to_k has 2
    adapter = Adapter({n: layer for n, layer in whole.layers.items() if "add_" not in n}, "diffusers")
    merge_into(base, adapter)
    for form in ("wan", "diffusers"):
        write_adapter(tmp_path / "a.safetensors", adapter, form)
        assert error(pipeline, tmp_path / "a.safetensors", forward(base)) < CLOSE


@pytest.mark.parametrize("layer", ["proj_out", "patch_embedding"])
def test_what_only_the_diffusers_format_carries_into_diffusers(
    tmp_path: Path, pipeline: Any, base: torch.nn.Module, layer: str
) -> None:
    """docs/adapter-formats.md says so: its converter wants at least one block, and knows no patch_embedding."""
    g = torch.Generator().manual_seed(0)
    shape = base.get_submodule(layer).weight.shape
    one = Layer(torch.randn(3, *shape[1:], generator=g) / 20, torch.randn(shape[0], 3, *(1 for _ in shape[2:])), 6.0)
    adapter = Adapter({layer: one}, "wan")
    merge_into(base, adapter)
    write_adapter(tmp_path / "wan.safetensors", adapter, "wan")
    with pytest.raises(ValueError, match=r"empty"), loaded(pipeline, tmp_path / "wan.safetensors"):
        pass
    convert(tmp_path / "wan.safetensors", tmp_path / "diffusers.safetensors", "diffusers")
    assert error(pipeline, tmp_path / "diffusers.safetensors", forward(base)) < 5 * CLOSE
