import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import WanImageToVideoPipeline
from PIL import Image

from cinetune.errors import PluginError, RecipeError, WeightsError
from cinetune.models._contract import Condition, Encoders, VideoModel
from cinetune.models._resolve import find_model, resolve
from cinetune.models._sampling import draw_noise, sample
from cinetune.models._scheduler import PublishedUniPC
from cinetune.models._wan import WanModel
from cinetune.ops.video import to_frames, to_pixels
from tiny_model import CAPTIONS

CPU = torch.device("cpu")


def frame(seed: int = 0, height: int = 64, width: int = 96) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def condition(
    model: WanModel, captions: list[str], frames: int = 17, height: int = 64, width: int = 96
) -> tuple[Condition, torch.Tensor]:
    encoders = model.load_encoders(CPU)
    shown = [frame(n, height, width) for n in range(len(captions))]
    first = torch.cat([to_pixels(picture[None])[:, :, 0] for picture in shown])
    text = encoders.encode_text([*captions, ""])
    return Condition(
        first=encoders.condition(first, frames),
        image=torch.stack([encoders.encode_image(picture) for picture in shown]),
        text=torch.nn.utils.rnn.pad_sequence(text[:-1], batch_first=True),
        text_length=tuple(len(t) for t in text[:-1]),
    ), text[-1]


def test_contract(tiny: WanModel) -> None:
    assert isinstance(tiny, VideoModel)
    assert isinstance(tiny.load_encoders(CPU), Encoders)


def test_condition_is_mask_then_latents_of_the_first_frame_and_grey(tiny: WanModel) -> None:
    given, _ = condition(tiny, CAPTIONS[:1])
    assert given.first.shape == (1, 20, 5, 8, 12)
    assert (given.first[:, :4, 0] == 1).all()
    assert (given.first[:, :4, 1:] == 0).all()
    grey = torch.zeros(1, 3, 17, 64, 96)
    grey[:, :, 0] = to_pixels(frame(0)[None])[:, :, 0]
    assert torch.equal(given.first[:, 4:], tiny.load_encoders(CPU).encode_video(grey))


def test_captions_without_padding_equal_padded_ones(tiny: WanModel) -> None:
    given, _ = condition(tiny, CAPTIONS)
    noise = torch.stack([draw_noise((16, 5, 8, 12), n) for n in range(3)])
    sigma = torch.tensor([0.1, 0.5, 0.9])
    short = tiny.velocity(tiny.load_transformer(CPU, torch.float32), noise, sigma, given)
    padded = tiny.load_transformer(CPU, torch.float32)(
        hidden_states=torch.cat([noise, given.first], dim=1),
        timestep=sigma * 1000,
        encoder_hidden_states=torch.nn.functional.pad(given.text, (0, 0, 0, 512 - given.text.shape[1])),
        encoder_hidden_states_image=given.image,
        return_dict=False,
    )[0]
    assert torch.allclose(short, padded, atol=2e-5)
    other, _ = condition(tiny, CAPTIONS[::-1])
    swapped = replace(given, text=other.text, text_length=other.text_length)
    moved = tiny.velocity(tiny.load_transformer(CPU, torch.float32), noise, sigma, swapped)
    assert (moved - short)[0].abs().max() > 1e-3, "the captions must matter for this to mean anything"


def test_text_is_trimmed_to_its_true_length(tiny: WanModel) -> None:
    encoders = tiny.load_encoders(CPU)
    together, alone = encoders.encode_text(CAPTIONS), [encoders.encode_text([c])[0] for c in CAPTIONS]
    assert len({len(t) for t in together}) > 1
    for a, b in zip(together, alone, strict=True):
        assert a.shape == b.shape
        assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(
    ("frames", "height", "width", "guidance"), [(17, 64, 96, 1.0), (17, 64, 96, 3.0), (33, 48, 80, 3.0)]
)
def test_batched_sampling_equals_the_unpatched_diffusers_pipeline(
    tiny: WanModel, frames: int, height: int, width: int, guidance: float
) -> None:
    given, negative = condition(tiny, CAPTIONS[:2], frames, height, width)
    network = tiny.load_transformer(CPU, torch.float32)
    shape = (16, (frames - 1) // 4 + 1, height // 8, width // 8)
    noise = torch.stack([draw_noise(shape, seed) for seed in (5, 6)])
    latents = sample(tiny, network, given, noise, steps=4, shift=3.0, guidance=guidance, negative=negative)
    ours = [to_frames(pixels) for pixels in tiny.load_encoders(CPU).decode(latents)]

    pipeline = WanImageToVideoPipeline.from_pretrained(tiny.folder, dtype=torch.float32)
    pipeline.scheduler = PublishedUniPC.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    for n, seed in enumerate((5, 6)):
        video = pipeline(
            image=Image.fromarray(frame(n, height, width)), prompt=CAPTIONS[n], negative_prompt="", height=height,
            width=width, num_frames=frames, num_inference_steps=4, guidance_scale=guidance,
            generator=torch.Generator().manual_seed(seed), output_type="np",
        ).frames[0]  # fmt: skip
        assert np.abs(np.round(video * 255) - ours[n]).max() <= 1


def test_frames_survive_the_way_to_pixels_and_back() -> None:
    video = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    assert np.array_equal(to_frames(to_pixels(video)[0]), video)


@pytest.mark.parametrize(("frames", "height", "width"), [(16, 64, 96), (17, 60, 96), (17, 64, 100)])
def test_illegal_size(tiny: WanModel, frames: int, height: int, width: int) -> None:
    with pytest.raises(RecipeError, match="tiny: "):
        tiny.check_size(frames, height, width)


def test_fingerprint_changes_with_the_encoders_only(tiny: WanModel, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny.folder, other)
    copy = WanModel(name="other", source=str(other))
    assert copy.fingerprint() == tiny.fingerprint()
    weights = next((other / "vae").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert WanModel(name="changed", source=str(other)).fingerprint() != tiny.fingerprint()


@pytest.mark.parametrize("part", ["vae", "transformer", "text_encoder", "image_encoder"])
def test_damaged_weights_are_one_line(tiny: WanModel, tmp_path: Path, part: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny.folder, broken)
    weights = next((broken / part).glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    model = WanModel(name="broken", source=str(broken))
    with pytest.raises(WeightsError, match=part) as caught:
        model.load_transformer(CPU, torch.float32) if part == "transformer" else model.load_encoders(CPU)
    assert "\n" not in str(caught.value)


def test_missing_part_and_missing_folder(tiny: WanModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    with pytest.raises(WeightsError, match=r"model_index\.json"):
        resolve(str(bare))
    shutil.copy(tiny.folder / "model_index.json", bare)
    with pytest.raises(WeightsError, match="no folder 'transformer'"):
        WanModel(name="bare", source=str(bare)).load_transformer(CPU, torch.float32)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match="neither a folder here nor to be had from the hub"):
        resolve("nobody/has-this-model")


def test_models_are_found_by_name_folder_or_hub_id(tiny: WanModel) -> None:
    assert find_model("nano").name == "nano"
    assert find_model("wan").source == "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers"
    assert find_model(tiny.source).source == tiny.source
    assert find_model("owner/some-model").source == "owner/some-model"
    with pytest.raises(PluginError, match="nano"):
        find_model("nanoo")


def test_a_caption_of_all_512_tokens_is_not_shortened(tiny: WanModel) -> None:
    given, _ = condition(tiny, [" ".join(["red", "car"] * 300)])
    assert given.text_length == (512,)
    network = tiny.load_transformer(CPU, torch.float32)
    assert tiny.velocity(network, draw_noise((16, 5, 8, 12), 0)[None], torch.tensor([0.5]), given).isfinite().all()


def test_a_long_video_keeps_the_attention_that_diffusers_chose(tiny: WanModel) -> None:
    given, _ = condition(tiny, CAPTIONS[:1], frames=69)  # 18 x 4 x 6 latent tokens: still fewer than 512
    wide = replace(given, first=given.first.repeat(1, 1, 1, 2, 1))  # 864 tokens
    network = tiny.load_transformer(CPU, torch.float32)
    chosen = type(network.blocks[0].attn2.processor)  # type: ignore[union-attr, index]
    tiny.velocity(network, wide.first[:, 4:], torch.tensor([0.5]), wide)
    assert type(network.blocks[0].attn2.processor) is chosen  # type: ignore[union-attr, index]
