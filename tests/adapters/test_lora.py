import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel
from made import adapter_for
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from safetensors.torch import save_file

from cinetune.adapters import lora
from cinetune.adapters.form import Adapter
from cinetune.adapters.merging import merge_into, unmerge
from cinetune.adapters.reading import read_adapter
from cinetune.adapters.targets import choose
from cinetune.adapters.writing import write_adapter
from cinetune.errors import WeightsError
from cinetune.models._wan import CROSS_ATTENTION, IMAGE_PROJECTIONS
from cinetune.nano import dit

TARGETS = CROSS_ATTENTION + IMAGE_PROJECTIONS
RANKS = {"blocks.1.attn2.to_q": 2, "blocks.0.attn1.to_out.0": 7}
KINDS: dict[str, dict[str, Any]] = {
    "ranks": {"ranks": RANKS, "alphas": {"blocks.1.attn2.to_q": 3.0}},
    "rslora": {"rslora": True, "ranks": {"blocks.1.attn2.to_q": 2}},
    "dora": {"dora": True},
    "dora and rslora": {"dora": True, "rslora": True, "ranks": {"blocks.1.attn2.to_q": 2}},
}


def network(seed: int = 0) -> WanTransformer3DModel:
    built = dit.build(seed, text_dim=8, image_dim=8).eval().requires_grad_(False)
    assert isinstance(built, WanTransformer3DModel)
    return built


def forward(net: torch.nn.Module) -> torch.Tensor:
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        out: torch.Tensor = net(
            hidden_states=torch.randn(1, 36, 2, 4, 4, generator=g),
            timestep=torch.tensor([500.0]),
            encoder_hidden_states=torch.randn(1, 512, 8, generator=g),
            encoder_hidden_states_image=torch.randn(1, 5, 8, generator=g),
            return_dict=False,
        )[0]
    return out


def trained(rank: int = 4, alpha: float = 8.0) -> WanTransformer3DModel:
    net = network()
    lora.inject(net, TARGETS, rank=rank, alpha=alpha, seed=0)
    move(net)
    return net


def move(net: torch.nn.Module) -> None:
    """Give B and the magnitudes values that training could."""
    g = torch.Generator().manual_seed(2)
    for name, weight in net.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn(weight.shape, generator=g) * 0.1
        elif "magnitude" in name:
            weight.data *= 1 + 0.1 * torch.randn(weight.shape, generator=g)


def test_a_fresh_adapter_changes_nothing_and_is_all_that_trains() -> None:
    net = network()
    before = forward(net)
    lora.inject(net, TARGETS, rank=8, alpha=16.0, seed=0)
    assert torch.equal(forward(net), before)
    names = [name for name, weight in net.named_parameters() if weight.requires_grad]
    assert len(names) == 6 * len(TARGETS) * 2
    assert all("attn2" in name and "lora_" in name for name in names)
    # (in + out) x rank a layer; the image projections take 192-wide tokens like the others
    assert sum(w.numel() for w in lora.parameters(net)) == 6 * len(TARGETS) * (192 + 192) * 8


def test_the_adapter_is_fp32_on_a_bf16_base() -> None:
    net = network().to(torch.bfloat16)
    lora.inject(net, TARGETS, rank=2, alpha=2.0, seed=0)
    assert {w.dtype for w in lora.parameters(net)} == {torch.float32}


def test_same_seed_same_adapter_whatever_the_global_generator() -> None:
    first, second = network(), network()
    lora.inject(first, TARGETS, rank=2, alpha=2.0, seed=3)
    torch.manual_seed(123)
    lora.inject(second, TARGETS, rank=2, alpha=2.0, seed=3)
    assert all(map(torch.equal, lora.parameters(first), lora.parameters(second)))


def test_saved_and_loaded_is_the_same_function(tmp_path: Path) -> None:
    net, path = trained(), tmp_path / lora.FILE_NAME
    lora.save(path, net)
    again = network()
    lora.load(path, again)
    assert torch.equal(forward(again), forward(net))
    assert {(layer.rank, layer.alpha) for layer in read_adapter(path).layers.values()} == {(4, 8.0)}


def test_same_weights_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        lora.save(tmp_path / name / lora.FILE_NAME, trained())
    a, b = (tmp_path / name / lora.FILE_NAME for name in ("a", "b"))
    assert a.read_bytes() == b.read_bytes()


def test_diffusers_loads_it_with_its_scale(tmp_path: Path) -> None:
    net = trained(rank=4, alpha=16.0)  # a scale of 4, which a loader that ignores alpha would miss
    lora.save(tmp_path / lora.FILE_NAME, net)
    other = network()
    other.load_lora_adapter(tmp_path, weight_name=lora.FILE_NAME, prefix="transformer")
    assert torch.allclose(forward(other), forward(net), atol=1e-6)
    assert (forward(network()) - forward(net)).abs().max() > 1e-3


def test_bad_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such adapter"):
        lora.load(tmp_path / "none.safetensors", network())
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not a safetensors file")
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        lora.load(damaged, network())
    path = tmp_path / lora.FILE_NAME
    lora.save(path, trained())
    wider = WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=24, in_channels=36, out_channels=16, text_dim=8, freq_dim=16,
        ffn_dim=16, num_layers=6, image_dim=8, added_kv_proj_dim=48,
    )  # fmt: skip
    with pytest.raises(WeightsError, match="made for another network"):
        lora.load(path, wider)


def test_it_is_what_peft_makes_of_the_seed(tmp_path: Path) -> None:
    """The numbers of the first version, which seeded every generator: draws, keys, order and bytes."""
    net, path = network(), tmp_path / lora.FILE_NAME
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = LoraConfig(r=4, lora_alpha=8.0, target_modules=TARGETS, init_lora_weights=True)
        inject_adapter_in_model(config, net)
    state = {f"transformer.{k}": v.contiguous() for k, v in get_peft_model_state_dict(net).items()}
    lines = {
        "init_lora_weights": True,
        "lora_alpha": 8.0,
        "lora_bias": False,
        "r": 4,
        "target_modules": sorted(TARGETS),
    }
    metadata = json.dumps({f"transformer.{k}": v for k, v in lines.items()}, sort_keys=True)
    save_file(dict(sorted(state.items())), tmp_path / "theirs", metadata={"lora_adapter_metadata": metadata})
    ours = network()
    lora.inject(ours, TARGETS, rank=4, alpha=8.0, seed=3)
    lora.save(path, ours)
    assert path.read_bytes() == (tmp_path / "theirs").read_bytes()


def test_no_generator_but_its_own_is_seeded_or_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("seeded for everybody")

    net = network()
    monkeypatch.setattr(torch, "manual_seed", refuse)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
    before = torch.random.get_rng_state()
    lora.inject(net, TARGETS, rank=2, alpha=2.0, seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("kind", KINDS)
def test_its_kin_start_as_the_base_and_come_back_from_a_file(tmp_path: Path, kind: str) -> None:
    net, path = network(), tmp_path / lora.FILE_NAME
    lora.inject(net, choose(net, "all-linear"), rank=4, alpha=8.0, seed=0, **KINDS[kind])
    assert torch.equal(forward(net), forward(network()))
    move(net)
    lora.save(path, net)
    again = network()
    lora.load(path, again)
    assert torch.equal(forward(again), forward(net))
    assert (forward(net) - forward(network())).abs().max() > 1e-2
    # three implementations: peft's forward, the merged weight, diffusers' loader
    merged = network()
    kept = merge_into(merged, read_adapter(path))
    assert (forward(merged) - forward(net)).abs().max() <= 1e-5
    unmerge(merged, kept)
    assert torch.equal(forward(merged), forward(network()))
    theirs = network()
    theirs.load_lora_adapter(tmp_path, weight_name=lora.FILE_NAME, prefix="transformer")
    assert (forward(theirs) - forward(net)).abs().max() <= 1e-5


def test_alpha_over_rank_is_as_documented() -> None:
    net = network()
    lora.inject(net, TARGETS, rank=8, alpha=16.0, seed=0, ranks={"blocks.1.attn2.to_q": 2, "blocks.1.attn2.to_k": 32},
                alphas={"blocks.1.attn2.to_q": 4.0})  # fmt: skip
    scales = {name: layer.scaling["default"] for name, layer in lora.layers(net).items()}
    assert scales.pop("blocks.1.attn2.to_k") == 0.5  # peft's own rule: its alpha stays 16
    assert set(scales.values()) == {2.0}
    assert lora.form(net).layers["blocks.1.attn2.to_q"].rank == 2


def test_a_fresh_dora_on_a_rounded_base_is_the_base() -> None:
    """peft rounds the magnitude like the base; 1/256 off would change every output."""
    net = network().to(torch.bfloat16)
    weight = net.blocks[0].attn2.to_q.weight.float()
    lora.inject(net, TARGETS, rank=2, alpha=2.0, seed=0, dora=True)
    layer = net.blocks[0].attn2.to_q
    assert layer.lora_magnitude_vector["default"].weight.dtype == torch.float32
    assert torch.equal(layer.lora_magnitude_vector["default"].weight.data, weight.norm(dim=1))
    x = torch.randn(5, weight.shape[1], generator=torch.Generator().manual_seed(0)).bfloat16()
    assert torch.equal(layer(x), layer.base_layer(x))


def test_weights_by_name_take_the_place_of_the_networks(tmp_path: Path) -> None:
    """An engine gives them whole where the network's own are sharded."""
    net, other = trained(), network()
    lora.inject(other, TARGETS, rank=4, alpha=8.0, seed=9)
    weights = {name: w.detach().clone() for name, w in net.named_parameters() if w.requires_grad}
    lora.save(tmp_path / "a.safetensors", net)
    lora.save(tmp_path / "b.safetensors", other, weights)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_mixture_that_peft_cannot_hold_is_refused(tmp_path: Path) -> None:
    adapter = adapter_for()
    layers = dict(adapter.layers)
    first = next(iter(layers))
    layers[first] = replace(layers[first], magnitude=torch.ones(192))
    write_adapter(tmp_path / "a.safetensors", Adapter(layers, "diffusers"), "diffusers")
    with pytest.raises(WeightsError, match="has no magnitude"):
        lora.load(tmp_path / "a.safetensors", network())
