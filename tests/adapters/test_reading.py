import json
from pathlib import Path
from typing import Any

import pytest
import torch
from made import adapter_for, same
from peft.utils.other import get_pattern_key
from safetensors.torch import save_file
from torch import Tensor

from cinetune.adapters.form import Adapter
from cinetune.adapters.reading import EXPERT_FILES, PEFT, find, find_all, read_adapter
from cinetune.adapters.writing import write_adapter
from cinetune.errors import WeightsError

LAYER = "transformer.blocks.0.attn2.to_q"


def half(rows: int, columns: int) -> Tensor:
    return torch.ones(rows, columns)


def one(name: str = LAYER, rank: int = 2) -> dict[str, Tensor]:
    """The keys of an adapter of one layer."""
    return {f"{name}.lora_A.weight": half(rank, 5), f"{name}.lora_B.weight": half(3, rank)}


def saved(path: Path, state: dict[str, Tensor], config: dict[str, Any] | str | None = None) -> Path:
    text = config if isinstance(config, str) else json.dumps(config)
    save_file(state, path, metadata={PEFT: text} if config is not None else None)
    return path


def renamed(adapter: Adapter, template: str, down: str = "lora_A", up: str = "lora_B") -> dict[str, Tensor]:
    state = {}
    for name, layer in adapter.layers.items():
        state[f"{template.format(name)}.{down}.weight"] = layer.a
        state[f"{template.format(name)}.{up}.weight"] = layer.b
    return state


@pytest.mark.parametrize(
    ("template", "down", "up"),
    [
        ("transformer.{}", "lora_A", "lora_B"),
        ("transformer.{}", "lora_A.default", "lora_B.default"),
        ("base_model.model.{}", "lora_A", "lora_B"),
        ("base_model.model.transformer.{}", "lora_A.default", "lora_B.default"),
        ("{}", "lora_A", "lora_B"),
    ],
)
def test_every_spelling_of_peft(tmp_path: Path, template: str, down: str, up: str) -> None:
    adapter = adapter_for()
    config = {"transformer.r": 4, "transformer.lora_alpha": 8.0}
    assert same(read_adapter(saved(tmp_path / "a.safetensors", renamed(adapter, template, down, up), config)), adapter)


@pytest.mark.parametrize("stem", ["diffusion_model.blocks.7.cross_attn.k_img", "blocks.7.cross_attn.k_img"])
@pytest.mark.parametrize("alpha", ["alpha", "lora_alpha"])
def test_every_spelling_of_the_original(tmp_path: Path, stem: str, alpha: str) -> None:
    state = {
        f"{stem}.lora_down.weight": half(2, 5),
        f"{stem}.lora_up.weight": half(3, 2),
        f"{stem}.{alpha}": torch.tensor(6.0, dtype=torch.bfloat16),
    }
    adapter = read_adapter(saved(tmp_path / "a.safetensors", state))
    layer = adapter.layers["blocks.7.attn2.add_k_proj"]
    assert (adapter.format, layer.rank, layer.alpha, layer.scale) == ("wan", 2, 6.0, 3.0)


def test_no_alpha_is_the_rank_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for stem in ("transformer.blocks.0.attn2.to_q", "diffusion_model.blocks.0.cross_attn.q"):
        layer = read_adapter(saved(tmp_path / "a.safetensors", one(stem))).layers["blocks.0.attn2.to_q"]
        assert (layer.alpha, layer.scale) == (2.0, 1.0)
        assert "no alpha for 1 of 1 layers; taken as the rank" in capsys.readouterr().err


def test_alpha_beside_the_file_of_peft(tmp_path: Path) -> None:
    """`save_pretrained` of peft keeps alpha in a second file; the weights alone would have the wrong strength."""
    saved(tmp_path / "adapter_model.safetensors", one("base_model.model.blocks.0.cross_attn.q"))
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 16, "use_rslora": True}))
    adapter = read_adapter(tmp_path)
    assert adapter.format == "wan"
    assert adapter.layers["blocks.0.attn2.to_q"].scale == pytest.approx(16 / 2**0.5)


def test_patterns_as_peft_reads_them(tmp_path: Path) -> None:
    names = ("blocks.1.attn2.to_q", "blocks.11.attn2.to_q", "blocks.1.attn2.to_k", "blocks.2.attn1.to_q")
    ranks = {"^blocks.1.attn2.to_q": 4, r"blocks\.2\..*": 3}
    alphas = {"to_k": 10.0, "^blocks.1.attn2.to_q": 12.0, r"blocks\.\d+\.attn2\.to_q": 14.0}
    state: dict[str, Tensor] = {}
    for name in names:
        state |= one(f"transformer.{name}", rank=ranks.get(get_pattern_key(list(ranks), name), 2))
    config = {"r": 2, "lora_alpha": 6.0, "rank_pattern": ranks, "alpha_pattern": alphas}
    layers = read_adapter(
        saved(tmp_path / "a.safetensors", state, {f"transformer.{k}": v for k, v in config.items()})
    ).layers
    assert {n: layer.alpha for n, layer in layers.items()} == {
        name: alphas.get(get_pattern_key(list(alphas), name), 6.0) for name in names
    }
    assert {layer.rank for layer in layers.values()} == {2, 3, 4}


def test_a_file_its_folder_or_a_run(tmp_path: Path) -> None:
    write_adapter(tmp_path / "run/train/best/pytorch_lora_weights.safetensors", adapter_for(), "diffusers")
    for place in ("run", "run/train/best", "run/train/best/pytorch_lora_weights.safetensors"):
        assert find(tmp_path / place).name == "pytorch_lora_weights.safetensors"
    with pytest.raises(WeightsError, match="no adapter in this folder"):
        find(tmp_path)


def test_files_of_two_experts(tmp_path: Path) -> None:
    best = tmp_path / "run/train/best"
    files = {expert: best / name for expert, name in EXPERT_FILES.items()}
    write_adapter(files["low"], adapter_for(), "diffusers")
    assert find_all(tmp_path / "run") == {"low": files["low"]}
    assert find(tmp_path / "run") == files["low"], "one of two that was trained alone"
    write_adapter(files["high"], adapter_for(), "diffusers")
    for place in (best, tmp_path / "run"):
        assert find_all(place) == files
        with pytest.raises(WeightsError, match=rf"each of two experts; give {files['high']} or {files['low']}"):
            find(place)
    assert find_all(files["high"]) == {"high": files["high"]}
    other = tmp_path / "style_v2_low_noise.safetensors"  # as ai-toolkit names them
    write_adapter(other, adapter_for(), "wan")
    assert find_all(other) == {"low": other}
    write_adapter(best / "pytorch_lora_weights.safetensors", adapter_for(), "diffusers")
    assert list(find_all(best / "pytorch_lora_weights.safetensors")) == [""]
    with pytest.raises(WeightsError, match="for one network and for two experts; give the file"):
        find_all(best)


FOREIGN = [
    "transformer.blocks.0.attn2.to_q.lora_B.bias",
    "diffusion_model.blocks.0.cross_attn.q.dora_scale",
    "diffusion_model.blocks.0.cross_attn.q.diff_b",
    "diffusion_model.blocks.0.norm3.diff",
    "diffusion_model.blocks.0.modulation.diff_m",
    "diffusion_model.blocks.0.attn.to_gate_compress.set_weight",
    "lora_unet_blocks_0_cross_attn_k.lokr_w1",
    "lora_unet_blocks_0_cross_attn_k.hada_w2_b",
]


@pytest.mark.parametrize("key", FOREIGN)
def test_more_than_a_lora_only_when_asked(tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path / "a.safetensors", {**one(), key: half(1, 1)}, {"r": 2, "lora_alpha": 4})
    with pytest.raises(WeightsError, match="1 of 3 keys hold what A, B and alpha cannot") as caught:
        read_adapter(path)
    assert key in str(caught.value)
    assert "--drop" in str(caught.value)
    adapter = read_adapter(path, drop=True)
    assert list(adapter.layers) == ["blocks.0.attn2.to_q"]
    assert f"left out 1 of 3 keys: {key}" in capsys.readouterr().err


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    stem = "lora_unet_blocks_0_cross_attn_q"
    state = {f"{stem}.lokr_w1": half(1, 1), f"{stem}.lokr_w2": half(1, 1), f"{stem}.alpha": torch.tensor(1.0)}
    with pytest.raises(WeightsError, match="3 of 3 keys hold what"):
        read_adapter(saved(tmp_path / "a.safetensors", state))
    with pytest.raises(WeightsError, match="no LoRA weights in it"):
        read_adapter(tmp_path / "a.safetensors", drop=True)


BAD: dict[str, tuple[dict[str, Tensor], Any, str]] = {
    "another model": (
        {f"transformer.single_transformer_blocks.{n}.attn.to_q.lora_A.weight": half(2, 5) for n in range(38)},
        None, r"38 of 38 keys are no LoRA of a Wan2.1 layer: .*blocks\.0\..* and 35 more",
    ),
    "unknown key": ({**one(), f"{LAYER}.something": half(1, 1)}, None, "1 of 3 keys are no LoRA"),
    "text encoder": ({**one(), **one("lora_te1_text_model_encoder")}, None, "2 of 4 keys are no LoRA"),
    "no keys": ({}, None, "no LoRA weights"),
    "no other half": ({f"{LAYER}.lora_A.weight": half(2, 5)}, None, "no other half"),
    "halves of two ranks": ({**one(), f"{LAYER}.lora_B.weight": half(3, 4)}, None, r"\[2, 5\] and \[3, 4\] do not fit"),
    "a vector": ({**one(), f"{LAYER}.lora_A.weight": torch.ones(2)}, None, "do not fit"),
    "doubled": ({**one(), f"{LAYER}.lora_A.default.weight": half(2, 5)}, None, "two keys for one weight"),
    "two formats": ({**one(), **one("diffusion_model.blocks.1.self_attn.q")}, None, "keys of two formats"),
    "rank of the metadata": (one(), {"r": 4, "lora_alpha": 4}, "has rank 2, its metadata says 4"),
    "metadata of nothing": (one(), {"r": 4}, "cannot be read"),
    "metadata no JSON": (one(), "{", "cannot be read"),
    "alpha of many": ({**one(), f"{LAYER}.alpha": torch.ones(2)}, None, "not one finite number"),
    "alpha not a number": ({**one(), f"{LAYER}.alpha": torch.tensor(float("nan"))}, None, "not one finite number"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_files_are_one_line(tmp_path: Path, what: str) -> None:
    state, config, says = BAD[what]
    with pytest.raises(WeightsError, match=says) as caught:
        read_adapter(saved(tmp_path / "a.safetensors", state, config))
    assert "a.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_files(tmp_path: Path) -> None:
    write_adapter(tmp_path / "a.safetensors", adapter_for(), "wan")
    whole = (tmp_path / "a.safetensors").read_bytes()
    for content in (b"", b"text", whole[:-1], whole[: len(whole) // 2]):
        (tmp_path / "b.safetensors").write_bytes(content)
        with pytest.raises(WeightsError, match="not a readable safetensors file"):
            read_adapter(tmp_path / "b.safetensors")
    with pytest.raises(WeightsError, match="no such adapter file"):
        read_adapter(tmp_path / "c.safetensors")
