from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel
from made import adapter_for

from cinetune.adapters import lora
from cinetune.adapters.writing import write_adapter
from cinetune.errors import WeightsError
from cinetune.models._wan import CROSS_ATTENTION, IMAGE_PROJECTIONS
from cinetune.nano import dit

TARGETS = CROSS_ATTENTION + IMAGE_PROJECTIONS


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
    g = torch.Generator().manual_seed(2)
    for name, weight in net.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn(weight.shape, generator=g) * 0.1
    return net


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
    lora.load(path, again, [])
    assert torch.equal(forward(again), forward(net))
    assert lora.read(path)[:2] == (4, 8.0)


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


def test_disabled_is_the_base() -> None:
    net = trained()
    with lora.disabled(net):
        assert torch.equal(forward(net), forward(network()))
    assert not torch.equal(forward(net), forward(network()))


def test_bad_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such adapter"):
        lora.read(tmp_path / "none.safetensors")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not a safetensors file")
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        lora.read(damaged)
    path = tmp_path / lora.FILE_NAME
    lora.save(path, trained())
    wider = WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=24, in_channels=36, out_channels=16, text_dim=8, freq_dim=16,
        ffn_dim=16, num_layers=6, image_dim=8, added_kv_proj_dim=48,
    )  # fmt: skip
    with pytest.raises(WeightsError, match="made for another network"):
        lora.load(path, wider, [])


def test_what_one_rank_and_alpha_cannot_say_is_refused(tmp_path: Path) -> None:
    """Loading it with the usual alpha alone would give some layers a wrong strength, silently."""
    for n, several in enumerate((adapter_for(alphas=(8.0, 4.0)), adapter_for(ranks=(4, 2)), adapter_for(rslora=True))):
        write_adapter(tmp_path / f"{n}.safetensors", several, "diffusers")
        with pytest.raises(WeightsError, match="not one rank and alpha"):
            lora.read(tmp_path / f"{n}.safetensors")
    write_adapter(tmp_path / "a.safetensors", adapter_for(), "diffusers")
    assert lora.read(tmp_path / "a.safetensors")[:2] == (4, 8.0)
