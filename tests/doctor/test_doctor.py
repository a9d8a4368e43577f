import io
import json
import re
from math import prod
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cinetune.doctor.configs import describe_model
from cinetune.doctor.doctor import SHARE_OF_PEAK, Diagnosis, doctor
from cinetune.doctor.estimate import Plan, shape
from cinetune.errors import CinetuneError, RecipeError, RunError, WeightsError
from cinetune.models.nano import FOLDER
from cinetune.ops.gpus import GPUS
from ops.wan_configs import I2V_14B, TI2V_5B

NANO = {"frames": 17, "height": 64, "width": 96}


def ask(model: str, **options: Any) -> tuple[Diagnosis, str]:
    out = io.StringIO()
    diagnosis = doctor(model, console=Console(file=out, width=200), **options)
    return diagnosis, out.getvalue()


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A bare transformer/config.json: what there is before a download."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps(I2V_14B), encoding="utf-8")
    return str(file)


def test_the_embedded_model_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.load", lambda *_, **__: pytest.fail("loads weights"))
    monkeypatch.setattr("safetensors.torch.load_file", lambda *_, **__: pytest.fail("loads weights"))
    diagnosis, text = ask("nano", gpu="RTX 4090", **NANO)
    from safetensors import safe_open

    held = {}
    for part in ("transformer", "vae", "text_encoder", "image_encoder"):
        (file,) = (FOLDER / part).glob("*.safetensors")
        with safe_open(file, framework="pt") as weights:
            sizes = {n: weights.get_slice(n).get_shape() for n in weights.keys()}  # noqa: SIM118
        held[part] = sum(prod(s) for s in sizes.values())
    assert diagnosis.model.parameters == held["transformer"]
    assert diagnosis.model.encoders["image encoder"] == held["image_encoder"]
    assert diagnosis.vae is not None
    assert diagnosis.vae.parameters == held["vae"]
    assert diagnosis.model.assumed == ()
    assert text.count("FITS") == 2
    assert "DOES NOT" not in text


def test_a_bare_config_says_what_it_assumes(config: str) -> None:
    diagnosis, text = ask(config, gpu="H200", frames=81, height=720, width=1280)
    assert diagnosis.model.parameters == 16_394_878_784
    assert diagnosis.trainable == 19_660_800
    assert diagnosis.tokens == 75_600
    assert len(diagnosis.model.assumed) == 3
    assert text.count("assumed") == 3
    assert "16,394,878,784 parameters" in text


def test_no_gpu_shows_several(config: str) -> None:
    _, text = ask(config)
    assert "no CUDA GPU here and none named" in text
    for gpu in GPUS:
        assert gpu.name in text


def test_what_does_not_fit_comes_with_what_to_switch_on(config: str) -> None:
    diagnosis, text = ask(config, gpu="A100-80GB", frames=81, height=720, width=1280, checkpointing=False)
    (answer,) = diagnosis.gpus
    assert "DOES NOT FIT A100-80GB" in text
    assert "+ gradient checkpointing: " in text
    assert answer.train_advice[0].name == "gradient checkpointing"
    assert len(re.findall(r"^  \+ .*GiB", text, re.MULTILINE)) == len(answer.train_advice) + len(answer.generate_advice)
    bars = re.findall(r"^  (\S.*?) +([\d.]+) GiB +(#*)", text, re.MULTILINE)
    assert sum(float(size) for _, size, _ in bars[: len(diagnosis.train.terms)]) == pytest.approx(
        diagnosis.train.total / 2**30, abs=1
    )


def test_times_follow_the_share_of_the_peak(config: str) -> None:
    plain, _ = ask(config, gpu="H200", frames=81)
    (answer,) = plain.gpus
    assert plain.share == SHARE_OF_PEAK
    assert answer.step_floor == pytest.approx(plain.step.hardware / 989.4e12)
    assert answer.step_expected == pytest.approx(plain.step.model / 989.4e12 / 0.33)
    assert answer.step_expected == pytest.approx(13, abs=0.2), "the target of the field notes for one H200"
    assert plain.vae is not None
    coded = plain.video + plain.vae.encode_flops + plain.vae.decode_flops
    assert answer.video_floor == pytest.approx(coded / 989.4e12)
    double, _ = ask(config, gpu="H200", frames=81, share=0.66)
    assert double.gpus[0].video_expected == pytest.approx(answer.video_expected / 2)  # type: ignore[operator]


def test_a_measured_forward_pass_calibrates(config: str) -> None:
    """diffusers#11605: T2V-14B at 480p81 takes 4.602 s eager on an H100, 37 % of its peak."""
    diagnosis, text = ask(config, gpu="H100", frames=81, calibrate=4.602)
    assert diagnosis.share == pytest.approx(0.37, abs=0.005)
    assert "measured" in text
    with pytest.raises(RecipeError, match=r"--calibrate: one forward pass in .*impossible"):
        ask(config, gpu="H100", frames=81, calibrate=1.0)


def test_the_claim_of_187_seconds(config: str) -> None:
    diagnosis, text = ask(config, gpu="A100-80GB", frames=81, height=720, width=1280, claim=187)
    assert diagnosis.claim is not None
    assert diagnosis.claim.verdict == "impossible"
    assert "claim: 187 s on A100-80GB: impossible, 9.0 times below the floor of 1677 s" in text


def test_json_holds_everything_as_plain_values(config: str, tmp_path: Path) -> None:
    file = tmp_path / "out" / "doctor.json"
    diagnosis, _ = ask(config, gpu="RTX-4090", claim=1e5, json_file=file)
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["schema"] == 1
    assert content["train"]["bytes"] == sum(content["train"]["terms"].values()) == diagnosis.train.total
    assert content["gpus"][0]["train_advice"][-1]["peak"]["bytes"] < 24 * 2**30
    assert len(content["plan"]["layers"]) == 240
    assert content["claim"]["verdict"] == "plausible"
    assert set(content["machine"]) == {"python", "torch", "cuda", "gpu"}


def test_targets_and_image_projections(config: str) -> None:
    assert ask(config, gpu="H200", image_projections=False)[0].trainable == 13_107_200
    assert ask(config, gpu="H200", targets="attention", rank=16)[0].trainable == 16 * 4_096_000
    assert ask(config, gpu="H200", full=True)[0].trainable == 16_394_878_784


def test_ti2v_5b_by_its_config_and_the_factor_of_its_vae(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(TI2V_5B), encoding="utf-8")
    diagnosis, text = ask(str(file), gpu="RTX-4090", frames=121, height=704, width=1280, vae_factor=16)
    assert diagnosis.tokens == 31 * 22 * 40
    assert diagnosis.vae is None
    assert "its time and memory are left out" in text


def test_timesteps_of_each_token_are_found_in_the_index(tmp_path: Path) -> None:
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "config.json").write_text(json.dumps(TI2V_5B), encoding="utf-8")
    (tmp_path / "model_index.json").write_text('{"expand_timesteps": true}', encoding="utf-8")
    assert describe_model(str(tmp_path), 16).time_per_token
    assert not describe_model("nano").time_per_token


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"frames": 32}, RecipeError, "frames must be 4n"),
        ({"height": 481}, RecipeError, "height must be a multiple of 16, such as 480"),
        ({"gpu": "H20"}, RunError, "did you mean H200"),
        ({"rank": 0}, RecipeError, "rank must be at least 1"),
        ({"targets": "everything"}, RecipeError, "no linear layer"),
        ({"share": 1.5}, RecipeError, "--share 1.5"),
        ({"calibrate": 2.0}, RecipeError, "--calibrate: measured on which GPU"),
        ({"claim": 2.0}, RecipeError, "--claim: a time on which GPU"),
        ({"claim": -1.0, "gpu": "H200"}, RunError, "more than 0"),
    ],
)
def test_a_mistake_is_one_line(config: str, options: dict[str, Any], error: type[CinetuneError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        ask(config, **options)
    assert "\n" not in str(caught.value)


def test_missing_and_foreign_configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match=r"config\.json: no such file"):
        ask(str(tmp_path))
    for content, message in (("{", "not JSON"), ("[]", "not a JSON object"), ('{"_class_name": "Flux"}', "a Flux")):
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
        with pytest.raises(WeightsError, match=message):
            ask(str(tmp_path / "config.json"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"give the path of its transformer/config\.json"):
        ask("nobody/has-this-model")


def test_published_models_need_no_network(tmp_path: Path) -> None:
    by_hub_id = describe_model("wan")
    assert by_hub_id.parameters == describe_model("wan2.1-i2v-14b-480p").parameters == 16_394_878_784
    experts = describe_model("wan2.2-i2v-a14b")
    assert any("two experts" in line for line in experts.assumed)
    assert describe_model("wan2.2-ti2v-5b").time_per_token


def test_first_and_last_frame_have_twice_the_image_tokens() -> None:
    one, two = (describe_model(f"wan2.1-{name}-14b-720p") for name in ("i2v", "flf2v"))
    plan = Plan(33, 480, 832, None, 8)
    assert (shape(one, plan, 1).image_tokens, shape(two, plan, 1).image_tokens) == (257, 514)
