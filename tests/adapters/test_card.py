import dataclasses
import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from made import adapter_for, same
from PIL import Image

from cinetune.adapters.card import MARK, push, write_card
from cinetune.adapters.form import Adapter
from cinetune.adapters.reading import EXPERT_FILES, read_adapter
from cinetune.adapters.writing import write_adapter
from cinetune.errors import RecordError, RunError, WeightsError
from cinetune.recipe import load_recipe
from cinetune.records import Clip, Result, Sample, write_records

PROMPT = 'A sign | "OPEN"\nin the rain: 5 > 3'


def clip(n: int, split: str) -> Clip:
    return Clip(f"c{n}", f"s{n}", f"scene-{n // 2}", "secret.mkv", 0.0, 16.0, 32, 64, 96, PROMPT, "sidecar", split, 3.0,
                "clips/c.mkv", "cache/c.safetensors")  # fmt: skip


def result(arm: str, value: float | None, **more: str) -> Result:
    half = None if value is None else 0.01
    ends = (None, None) if value is None or half is None else (value - half, value + half)
    return Result("lpips", "1", arm, "pair", "lower", value, *ends, 0.95, 24, "distance", "nano_lpips 1", 0, **more)


def make_run(run: Path, model: str) -> Path:
    recipe = load_recipe("nano", {"model": json.dumps(model)})
    write_adapter(run / "train/best/pytorch_lora_weights.safetensors", adapter_for(), "diffusers")
    (run / "recipe.json").write_text(json.dumps({"id": recipe.id, **recipe.model_dump(mode="json")}))
    (run / "train/summary.json").write_text(json.dumps({"steps": 250, "best_step": 175, "stopped": "plateau"}))
    write_records(run / "footage/clips.jsonl", [clip(n, "train" if n < 6 else "test") for n in range(8)])
    shots = [
        Sample(f"shot-1-{arm}", arm, "shot-1", PROMPT, 0, "v.mkv", "", "", 2, 1.0, 3.0) for arm in ("base", "tuned")
    ]
    write_records(run / "generate/shots.jsonl", shots)
    (run / "generate/keyframes").mkdir()
    for shot in shots:
        Image.new("RGB", (8, 8)).save(run / f"generate/keyframes/{shot.id}.png")
    results = [result("base", 0.331), result("tuned", 0.248), result("tuned - base", -0.083)]
    results += [
        dataclasses.replace(result(arm, None, reason="needs 32 videos"), metric="fvd") for arm in ("base", "tuned")
    ]
    (run / "evaluate").mkdir()
    tree = {"meta": {}, "results": [dataclasses.asdict(r) for r in results]}
    (run / "evaluate/results.json").write_text(json.dumps(tree))
    return run


def test_a_card_of_a_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "harbour", "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers")
    path = write_card(run, tmp_path / "card")
    text = path.read_text()
    data = ModelCard(text).data  # the hub's own reader
    assert data.base_model == "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers"
    assert (data.library_name, data.license, data.pipeline_tag) == ("diffusers", "apache-2.0", "image-to-video")
    assert {"lora", "image-to-video"} <= set(data.tags)
    assert data.widget == [{"text": PROMPT, "output": {"url": "images/shot-1-tuned.png"}}]
    for shown in (
        "# harbour", "| rank | 4 |", "| alpha | 8 |", "| train | 6 | 3 | 12.0 | sidecar |", "32 frames, 96x64 at 16",
        "| best step | 175 |", "| stopped | plateau |", "0.331 [0.321, 0.341]", "-0.083 [-0.093, -0.073]",
        "| fvd (lower is better) | not computed |", "needs 32 videos", "cannot be compared with published",
        'A sign \\| "OPEN" in the rain', "load_lora_weights", '"learning_rate": 0.001',
    ):  # fmt: skip
        assert shown in text, shown
    assert str(tmp_path) not in text
    assert "secret" not in text
    files = {str(f.relative_to(tmp_path / "card")) for f in (tmp_path / "card").rglob("*") if f.is_file()}
    pictures = {f"images/shot-1-{arm}.png" for arm in ("base", "tuned")}
    weights = {"pytorch_lora_weights.safetensors", "comfyui_lora.safetensors"}
    assert files == {"README.md", "style.json", *weights, *pictures}
    for name in ("pytorch_lora_weights", "comfyui_lora"):
        assert same(read_adapter(tmp_path / "card" / f"{name}.safetensors"), adapter_for())
    before = path.read_bytes()
    assert write_card(run, tmp_path / "card").read_bytes() == before


def test_a_run_of_two_experts_has_files_for_both(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "Wan-AI/Wan2.2-I2V-A14B-Diffusers")
    (run / "train/best/pytorch_lora_weights.safetensors").unlink()
    adapters = {"high": adapter_for(), "low": adapter_for(alphas=(2.0,))}
    for expert, adapter in adapters.items():
        write_adapter(run / "train/best" / EXPERT_FILES[expert], adapter, "diffusers")
    text = write_card(run, tmp_path / "card").read_text()
    for shown in (
        "| experts | high noise and low noise |", "| alpha | 2 to 8 |", "each on the model of its own noise range",
        'weight_name="comfyui_lora_high_noise.safetensors")\n',
        'weight_name="comfyui_lora_low_noise.safetensors", load_into_transformer_2=True)\n',
    ):  # fmt: skip
        assert shown in text, shown
    files = {f.name for f in (tmp_path / "card").glob("*.safetensors")}
    assert files == {f"{n}_{e}_noise.safetensors" for n in ("pytorch_lora_weights", "comfyui_lora") for e in adapters}
    for expert, adapter in adapters.items():
        assert same(read_adapter(tmp_path / "card" / f"comfyui_lora_{expert}_noise.safetensors"), adapter)


def test_a_dora_has_no_file_for_comfyui(tmp_path: Path) -> None:
    plain = adapter_for()
    layers = {n: dataclasses.replace(x, magnitude=torch.ones(len(x.b))) for n, x in plain.layers.items()}
    write_adapter(tmp_path / "dora.safetensors", Adapter(layers, "diffusers"), "diffusers")
    text = write_card(tmp_path / "dora.safetensors", tmp_path / "card").read_text()
    assert [f.name for f in (tmp_path / "card").glob("*.safetensors")] == ["pytorch_lora_weights.safetensors"]
    assert 'weight_name="pytorch_lora_weights.safetensors")' in text
    assert "for ComfyUI, merge it into the base first" in text


def test_a_half_done_run_and_the_miniature(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "nano")
    for name in ("evaluate/results.json", "generate/shots.jsonl"):
        (run / name).unlink()
    text = write_card(run, tmp_path / "card").read_text()
    assert ModelCard(text).data.base_model is None
    assert "Measured" not in text
    assert "Keyframes" not in text


def test_a_model_folder_of_this_machine_is_not_published(tmp_path: Path) -> None:
    folder = tmp_path / "private" / "model"
    folder.mkdir(parents=True)
    run = make_run(tmp_path / "run", str(folder))
    text = write_card(run, tmp_path / "card", base="owner/name", licence="cc-by-4.0").read_text()
    assert "private" not in text
    assert (ModelCard(text).data.base_model, ModelCard(text).data.license) == ("owner/name", "cc-by-4.0")


def test_a_card_of_a_file(tmp_path: Path) -> None:
    write_adapter(tmp_path / "style.safetensors", adapter_for(), "kohya")
    text = write_card(tmp_path / "style.safetensors", tmp_path / "card").read_text()
    assert "# style" in text
    assert "Training" not in text


def test_nobody_elses_readme_is_replaced(tmp_path: Path) -> None:
    write_adapter(tmp_path / "a.safetensors", adapter_for(), "wan")
    out = tmp_path / "project"
    out.mkdir()
    (out / "README.md").write_text("mine")
    with pytest.raises(RunError, match="no card of cinetune's"):
        write_card(tmp_path / "a.safetensors", out)
    assert [(f.name, f.read_text()) for f in out.iterdir()] == [("README.md", "mine")]
    (out / "README.md").write_text(MARK)
    write_card(tmp_path / "a.safetensors", out)


@pytest.mark.parametrize("content", ["{", "[]", '{"results": [{"metric": "x"}]}'])
def test_damaged_results(tmp_path: Path, content: str) -> None:
    run = make_run(tmp_path / "run", "nano")
    (run / "evaluate/results.json").write_text(content)
    with pytest.raises(RecordError, match=r"results\.json"):
        write_card(run, tmp_path / "card")


def test_no_network_is_one_line(tmp_path: Path) -> None:
    """Tests run with HF_HUB_OFFLINE=1."""
    with pytest.raises(WeightsError, match=r"--push owner/name: not uploaded \(OfflineModeIsEnabled") as caught:
        push(tmp_path, "owner/name")
    assert "\n" not in str(caught.value)
    for name in ("name", "a/b/c", "/name"):
        with pytest.raises(WeightsError, match="give OWNER/NAME"):
            push(tmp_path, name)
