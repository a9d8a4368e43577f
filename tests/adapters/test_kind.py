import json
from pathlib import Path

import pytest
import torch
from made import adapter_for
from safetensors.torch import save_file

from cinetune.adapters.form import Adapter
from cinetune.adapters.kind import check_kind, kind_of
from cinetune.adapters.writing import write_adapter
from cinetune.errors import WeightsError

LAYERS = [f"diffusion_model.blocks.{n}.cross_attn.{part}" for n in (0, 1) for part in ("q", "k", "v", "o")]


def lora(path: Path, layers: list[str] = LAYERS, metadata: dict[str, str] | None = None, inputs: int = 0) -> Path:
    state = {}
    for layer in layers:
        state |= {f"{layer}.lora_A.weight": torch.ones(2, 8), f"{layer}.lora_B.weight": torch.ones(8, 2)}
    if inputs:
        name = "diffusion_model.patch_embedding"
        state |= {f"{name}.lora_A.weight": torch.ones(2, inputs, 1, 2, 2)}
        state |= {f"{name}.lora_B.weight": torch.ones(8, 2, 1, 1, 1)}
    save_file(state, path, metadata=metadata)
    return path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Wan-AI/Wan2.1-T2V-14B", "t2v"), ("Wan-AI/Wan2.1-I2V-14B-480P-Diffusers", "i2v"),
        ("Wan-AI/Wan2.2-TI2V-5B-Diffusers", "ti2v"), ("Wan-AI/Wan2.1-FLF2V-14B-720P", "i2v"),
        ("wan2.1_i2v_480p_14B_bf16.safetensors", "i2v"), ("wan22_14b_t2v", "t2v"), ("wan2.1-t2v", "t2v"),
        ("Text to Video", "t2v"), ("image-to-video", "i2v"), ("wan2.1/lora", ""), ("wan_2.1", ""), ("mint2verse", ""),
        ("t2v and i2v", ""), ("", ""),
    ],
)  # fmt: skip
def test_names(name: str, kind: str) -> None:
    assert kind_of(name) == kind


@pytest.mark.parametrize(
    ("made_for", "metadata", "inputs", "why"),
    [
        ("t2v", None, 0, "its card or recipe says"),
        ("", {"ss_base_model_version": "wan2.1", "ss_sd_model_name": "wan2.1_t2v_14B_bf16.safetensors"}, 0,
         "ss_sd_model_name says wan2.1_t2v_14B_bf16.safetensors"),
        ("", {"modelspec.architecture": "wan2.1-t2v"}, 0, "modelspec.architecture says wan2.1-t2v"),
        ("i2v", None, 16, "its patch embedding has 16 channels"),
    ],
)  # fmt: skip
def test_text_to_video_on_image_to_video_is_refused(
    tmp_path: Path, made_for: str, metadata: dict[str, str] | None, inputs: int, why: str
) -> None:
    file = lora(tmp_path / "a.safetensors", metadata=metadata, inputs=inputs)
    with pytest.raises(WeightsError) as caught:
        check_kind(file, made_for=made_for, kind="i2v", image_tokens=True)
    assert str(caught.value) == (
        f"{file}: made for text-to-video ({why}), and this model is image-to-video; give an adapter of image-to-video, "
        "or a text-to-video base"
    )
    check_kind(file, made_for=made_for, kind="t2v", image_tokens=False)


def test_the_configuration_that_peft_writes_beside(tmp_path: Path) -> None:
    file = lora(tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "Wan-AI/Wan2.1-T2V-1.3B"}))
    with pytest.raises(WeightsError, match=r"base_model says Wan-AI/Wan2\.1-T2V-1\.3B"):
        check_kind(tmp_path, made_for="", kind="i2v", image_tokens=True)
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(WeightsError, match="not a JSON object"):
        check_kind(file, made_for="", kind="i2v", image_tokens=True)


def test_image_to_video_on_text_to_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_adapter(tmp_path / "a.safetensors", adapter_for(), "kohya")
    with pytest.raises(WeightsError, match=r"it has blocks\.0\.attn2\.add_k_proj"):
        check_kind(tmp_path / "a.safetensors", made_for="", kind="t2v", image_tokens=False)
    check_kind(tmp_path / "a.safetensors", made_for="", kind="i2v", image_tokens=True)
    assert capsys.readouterr().err == ""


def test_what_cannot_be_known_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = adapter_for()
    layers = {name: layer for name, layer in whole.layers.items() if "add_" not in name}
    write_adapter(tmp_path / "a.safetensors", Adapter(layers, "wan"), "wan")
    check_kind(tmp_path / "a.safetensors", made_for="", kind="i2v", image_tokens=True)
    assert "no layers for image tokens (add_k_proj, add_v_proj)" in capsys.readouterr().err
    check_kind(tmp_path / "a.safetensors", made_for="i2v", kind="i2v", image_tokens=True)  # lora.image_projections off
    check_kind(tmp_path / "a.safetensors", made_for="", kind="i2v", image_tokens=False)  # Wan2.2 has no such layers
    lora(tmp_path / "ffn.safetensors", ["diffusion_model.blocks.0.ffn.0"])
    check_kind(tmp_path / "ffn.safetensors", made_for="", kind="i2v", image_tokens=True)
    assert capsys.readouterr().err == ""


def test_not_an_adapter_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"no")
    for path in (tmp_path / "a.safetensors", tmp_path / "none.safetensors"):
        with pytest.raises(WeightsError) as caught:
            check_kind(path, made_for="", kind="i2v", image_tokens=True)
        assert "\n" not in str(caught.value)


def test_networks_trained_whole_are_left_to_loading(tmp_path: Path) -> None:
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer/config.json").write_text("{}")
    check_kind(tmp_path, made_for="t2v", kind="i2v", image_tokens=True)
