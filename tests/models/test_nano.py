"""The embedded miniature as shipped."""

import json

import numpy as np
import pytest
import torch
from diffusers import WanImageToVideoPipeline
from PIL import Image

from cinetune.footage.procedural import render_clip
from cinetune.models.nano import FOLDER, MODEL
from cinetune.nano.measure import HELD_OUT_SEED
from cinetune.ops.video import to_frames, to_pixels

PUBLISHED_PARTS = {"image_encoder", "image_processor", "scheduler", "text_encoder", "tokenizer", "transformer", "vae"}


def test_the_folder_has_the_published_layout_and_is_small() -> None:
    index = json.loads((FOLDER / "model_index.json").read_text(encoding="utf-8"))
    assert {k for k in index if not k.startswith("_")} == PUBLISHED_PARTS
    assert all((FOLDER / part).is_dir() for part in PUBLISHED_PARTS)
    assert sum(f.stat().st_size for f in FOLDER.rglob("*") if f.is_file()) <= 32 * 2**20


def test_diffusers_loads_and_runs_it_unpatched() -> None:
    clip = render_clip("day", seed=HELD_OUT_SEED)
    pipeline = WanImageToVideoPipeline.from_pretrained(FOLDER, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    video = pipeline(
        image=Image.fromarray(clip.frames[0]), prompt=clip.caption, height=64, width=96, num_frames=17,
        num_inference_steps=6, guidance_scale=1.0, generator=torch.Generator().manual_seed(0), output_type="np",
    ).frames[0]  # fmt: skip
    assert video.shape == (17, 64, 96, 3)
    error = np.abs(video[0] * 255 - clip.frames[0]).mean()
    assert error < 16, "the first frame is the given one"


@pytest.mark.parametrize("domain", ["day", "dusk", "noir", "snow"])
def test_the_vae_keeps_what_it_was_trained_on(domain: str) -> None:
    """A guard against shipping a broken file, well below the measured quality (docs/nano.md)."""
    encoders = MODEL.load_encoders(torch.device("cpu"))
    clip = render_clip(domain, seed=HELD_OUT_SEED + 1)
    back = to_frames(encoders.decode(encoders.encode_video(to_pixels(clip.frames)))[0])
    mse = np.square(back.astype(np.float64) - clip.frames).mean()
    assert 10 * np.log10(255**2 / mse) > 24
