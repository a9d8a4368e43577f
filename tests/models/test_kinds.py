"""Every kind of Wan against diffusers' own pipelines over the same folder: text-to-video, Wan2.2, first and last."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanImageToVideoPipeline, WanPipeline
from PIL import Image

from cinetune.errors import RecipeError, WeightsError
from cinetune.models._contract import Condition
from cinetune.models._facts import read_facts
from cinetune.models._sampling import draw_noise, sample
from cinetune.models._scheduler import PublishedUniPC
from cinetune.models._wan import WanModel
from cinetune.ops.video import to_frames, to_pixels
from tiny_kinds import KINDS, build
from tiny_model import CAPTIONS

CPU = torch.device("cpu")


def picture(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((48, 32), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_those_of_the_unpatched_diffusers_pipeline(tiny: WanModel, tmp_path: Path, kind: str) -> None:
    model: Any = build(tiny, tmp_path / "model", kind)
    encoders = model.load_encoders(CPU)
    text, negative = encoders.encode_text([CAPTIONS[0], ""])
    first, last = picture(0), picture(1)
    both = kind == "first and last"
    pixels = [to_pixels(frame[None])[:, :, 0] for frame in (first, last)]
    tokens = [encoders.encode_image(frame) for frame in ((first, last) if both else (first,))]
    condition = Condition(
        encoders.condition(pixels[0], 9, pixels[1] if both else None), torch.cat(tokens)[None], text[None], (len(text),)
    )
    noise = draw_noise((16, 3, 4, 6), 7)[None]
    latents = sample(
        model, model.load_transformer(CPU, torch.float32), condition, noise,
        steps=5, shift=3.0, guidance=2.0, negative=negative,
    )  # fmt: skip
    ours = to_frames(encoders.decode(latents)[0])

    pipeline = (WanPipeline if kind.startswith("t2v") else WanImageToVideoPipeline).from_pretrained(
        model.folder, dtype=torch.float32
    )
    pipeline.scheduler = PublishedUniPC.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    given = {} if kind.startswith("t2v") else {"image": Image.fromarray(first)}
    if both:
        given["last_image"] = Image.fromarray(last)
    video = pipeline(
        prompt=CAPTIONS[0], negative_prompt="", height=32, width=48, num_frames=9, num_inference_steps=5,
        guidance_scale=2.0, generator=torch.Generator().manual_seed(7), output_type="np", **given,
    ).frames[0]  # fmt: skip
    assert np.abs(np.round(video * 255) - ours).max() <= 1
    assert ours.std() > 5, "a grey video would hide every difference"


def test_facts_are_read_from_the_configs(tiny: WanModel, tmp_path: Path) -> None:
    facts = {kind: build(tiny, tmp_path / kind, kind).facts for kind in KINDS}
    assert [facts[kind].kind for kind in KINDS] == ["t2v", "ti2v", "i2v", "t2v", "i2v"]
    assert [facts[kind].image_tokens for kind in KINDS] == [False, False, False, False, True]
    assert [facts[kind].boundary for kind in KINDS] == [None, None, 0.9, 0.875, None]
    assert facts["t2v"].step == 16


def test_a_model_without_image_tokens_has_no_image_projections_to_adapt(tiny: WanModel, tmp_path: Path) -> None:
    with_tokens, without = tiny, build(tiny, tmp_path / "t2v", "t2v")
    assert "attn2.add_k_proj" in with_tokens.adapter_targets(image_projections=True)
    assert "attn2.add_k_proj" not in without.adapter_targets(image_projections=True)


def test_a_last_frame_for_a_model_that_takes_none(tiny: WanModel, tmp_path: Path) -> None:
    encoders = build(tiny, tmp_path / "t2v", "t2v").load_encoders(CPU)
    frame = torch.zeros(1, 3, 32, 48)
    with pytest.raises(RecipeError, match="a t2v model takes none"):
        encoders.condition(frame, 9, frame)


def test_other_channels_and_damaged_configs_are_one_line(tiny: WanModel, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny.folder, folder)
    config = folder / "transformer" / "config.json"
    said = json.loads(config.read_text())
    config.write_text(json.dumps({**said, "in_channels": 33}))
    with pytest.raises(WeightsError, match=r"in_channels is 33 .*image-to-video has 36, text-to-video 16"):
        read_facts(folder)
    config.write_text("{")
    with pytest.raises(WeightsError, match="not JSON"):
        read_facts(folder)
    config.unlink()
    with pytest.raises(WeightsError, match=r"config\.json: cannot be read"):
        read_facts(folder)


def test_another_architecture_is_named(tiny: WanModel, tmp_path: Path) -> None:
    model = build(tiny, tmp_path / "model", "t2v")
    index = tmp_path / "model" / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_class_name": "LTXPipeline"}))
    with pytest.raises(WeightsError, match="this is a LTXPipeline, not a Wan pipeline"):
        model.check_size(17, 64, 96)
