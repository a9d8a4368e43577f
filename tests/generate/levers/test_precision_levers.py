"""Levers over weights, kernels and the decoder: what they do to the numbers, against exact."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cinetune.errors import RecipeError
from cinetune.generate.network import Trained
from cinetune.models._velocity import parts
from cinetune.models._wan import WanModel
from cinetune.speed.quantised import FrozenLinear
from lever_studio import adapter, apart, studio, window, work
from tiny_kinds import build

CLOSE = 1e-5


@pytest.fixture
def style(tiny: WanModel, tmp_path: Path) -> Trained:
    return Trained(adapter(tiny, tmp_path / "style.safetensors"))


def test_nothing_means_nothing(tiny: WanModel, style: Trained) -> None:
    exact, ours = (studio(tiny, *names, trained=(style,)) for names in ((), ("offload=2",)))
    assert torch.equal(ours.latents(window()), exact.latents(window()))
    assert ours.rig.offloaded
    assert np.array_equal(ours(window(seed=1)), exact(window(seed=1))), "again, after weights came and went"


@pytest.mark.parametrize("levers", [("attention=_native_math",), ("merge", "fuse_qkv"), ("tiles=4",)])
def test_rounding_means_rounding(tiny: WanModel, style: Trained, levers: tuple[str, ...]) -> None:
    names = [] if levers[0] != "merge" else ["merge"]
    exact, ours = (studio(tiny, *chosen, trained=(style,)) for chosen in (names, levers))
    assert apart(ours.latents(window()), exact.latents(window())) <= CLOSE
    pixels = [room.rig.decoder.decode(exact.latents(window())) for room in (ours, exact)]
    print(levers, f"{apart(*pixels):.1e}")
    assert apart(*pixels) <= CLOSE


@pytest.mark.parametrize("kind", [pytest.param("weights", marks=pytest.mark.slow), "matmul"])
def test_fp8_rounds_the_base_and_not_what_is_beside_it(tiny: WanModel, style: Trained, kind: str) -> None:
    exact, ours = studio(tiny, trained=(style,)), studio(tiny, f"fp8={kind}", trained=(style,))
    beside = {name: w for name, w in ours.rig.network.named_parameters() if "lora_" in name}
    assert beside
    for name, weight in exact.rig.network.named_parameters():
        if name in beside:
            assert torch.equal(beside[name], weight), "unmerged: in its own precision"
    blocks: Any = parts(ours.rig.network)[0]
    rounded = [m for m in blocks.blocks.modules() if isinstance(m, FrozenLinear)]
    assert rounded
    assert all(m.fp8_matmul == (kind == "matmul") for m in rounded)
    assert not any(w.requires_grad for w in ours.rig.network.parameters())
    off = apart(ours.latents(window()), exact.latents(window()))
    print(f"fp8={kind}: {off:.3f}")
    assert 1e-4 < off < 0.3


@pytest.mark.slow
def test_a_merged_adapter_is_rounded_with_the_weights(tiny: WanModel, style: Trained) -> None:
    merged, base = studio(tiny, "merge", trained=(style,)), studio(tiny, "fp8")
    both = studio(tiny, "fp8", "merge", trained=(style,)).latents(window())
    assert apart(both, merged.latents(window())) < apart(both, base.latents(window()))


def test_fp8_beside_a_dora_is_one_line(tiny: WanModel, tmp_path: Path) -> None:
    dora = Trained(adapter(tiny, tmp_path / "dora.safetensors", dora=True))
    with pytest.raises(RecipeError, match=r"--lever fp8=weights: a DoRA beside the weights .* add --lever merge"):
        studio(tiny, "fp8", trained=(dora,))
    assert torch.isfinite(studio(tiny, "fp8", "merge", trained=(dora,)).latents(window())).all()


def test_fused_projections_under_an_adapter_are_one_line(tiny: WanModel, style: Trained) -> None:
    with pytest.raises(
        RecipeError, match=r"--lever fuse_qkv: an adapter beside the weights would be lost .* --lever merge"
    ):
        studio(tiny, "fuse_qkv", trained=(style,))
    with pytest.raises(RecipeError, match="fp8 and fuse_qkv do not go together"):
        studio(tiny, "fuse_qkv", "fp8")
    network: Any = studio(tiny, "fuse_qkv").rig.network
    names = [name for name, _ in network.named_parameters()]
    assert any("attn1.to_qkv" in name for name in names)
    assert not any("attn1.to_q." in name for name in names), "not twice in memory"


def test_more_blocks_than_there_are(tiny: WanModel) -> None:
    with pytest.raises(RecipeError, match=r"--lever offload=99: the network has \d+ blocks"):
        studio(tiny, "offload=99")


@pytest.mark.slow
def test_two_experts_are_offloaded_and_rounded(tiny: WanModel, tmp_path: Path) -> None:
    model = build(tiny, tmp_path / "model", "two experts")
    exact = studio(model).latents(window())
    assert torch.equal(studio(model, "offload=1").latents(window()), exact)
    ours = studio(model, "fp8", "offload=2")
    for part in parts(ours.rig.network):
        assert any(isinstance(module, FrozenLinear) for module in part.modules())
    assert torch.equal(ours.latents(window()), studio(model, "fp8").latents(window()))


def test_only_what_is_decoded_is_in_bf16(tiny: WanModel) -> None:
    exact, ours = studio(tiny), studio(tiny, "vae_bf16", "tiles=2")
    assert torch.equal(ours.latents(window()), exact.latents(window())), "what is encoded is not"
    decoder: Any = ours.rig.decoder
    assert decoder.vae.dtype is torch.bfloat16
    assert decoder.tiles == 2
    one, two = (room(window()).astype(float) / 65535 for room in (ours, exact))
    psnr = -10 * np.log10(((one - two) ** 2).mean())
    print(f"vae_bf16: {psnr:.1f} dB")
    assert 35 < psnr < 90


def test_a_kernel_that_is_not_here_is_one_line(tiny: WanModel) -> None:
    with pytest.raises(RecipeError, match=r"--lever attention = 'flash': .*; give 'auto' or another"):
        studio(tiny, "attention=flash")
    with pytest.raises(RecipeError, match=r"--lever attention=sage: it rounds to 8 bits; give --lever sage=sage"):
        studio(tiny, "attention=sage")
    with pytest.raises(RecipeError, match=r"--lever sage=sage: \S+"):
        studio(tiny, "sage")


@pytest.mark.slow
def test_levers_of_one_studio_are_not_another_s(tiny: WanModel) -> None:
    exact = studio(tiny).latents(window())
    work(studio(tiny, "attention=_native_math", "first_block=0.5", "vae_bf16"))
    assert torch.equal(studio(tiny).latents(window()), exact)
