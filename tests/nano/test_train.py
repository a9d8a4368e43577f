"""`cinetune nano train`, from nothing to a folder that diffusers loads, a thousand times smaller."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import WanImageToVideoPipeline
from safetensors.torch import load_file

from cinetune.errors import RunError
from cinetune.models._wan import WanModel
from cinetune.nano import backbones
from cinetune.nano.data import rendered
from cinetune.nano.train import Plan, train_nano


def test_the_plan_scales_down_but_never_to_nothing() -> None:
    assert Plan().scaled(1.0) == Plan()
    small = Plan().scaled(1e-6)
    assert min(small.clips, small.dit_clips, small.towers_steps, small.vae_steps, small.dit_steps) > 0


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match="choose another --out"):
        train_nano(tmp_path, tmp_path / "work", Plan(), device=torch.device("cpu"))
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_rendered_clips_are_made_once(tmp_path: Path) -> None:
    first = rendered(tmp_path, name="a", domains=("day", "snow"), count=4, seed=1)
    stamp = (tmp_path / "a.frames.npy").stat().st_mtime_ns
    again = rendered(tmp_path, name="a", domains=("day", "snow"), count=4, seed=1)
    assert (tmp_path / "a.frames.npy").stat().st_mtime_ns == stamp
    assert np.array_equal(first.frames, again.frames)
    assert first.captions == again.captions
    assert first.foreground.any(axis=(1, 2, 3)).all()


@pytest.mark.slow
def test_one_command_makes_a_folder_that_diffusers_loads(tmp_path: Path) -> None:
    few = backbones.Plan(clips=28, held_out=28, frames_steps=2, video_steps=2, clip_steps=2, lpips_steps=2)
    plan = Plan(clips=8, dit_clips=8, towers_steps=2, vae_steps=5, sharpen_steps=2, dit_steps=2, seed=1, metrics=few)
    cpu = torch.device("cpu")
    out = train_nano(tmp_path / "nano", tmp_path / "work", plan, device=cpu)
    pipeline = WanImageToVideoPipeline.from_pretrained(out, dtype=torch.float32)
    assert type(pipeline.text_encoder).__name__ == "UMT5EncoderModel"
    assert type(pipeline.image_encoder).__name__ == "CLIPVisionModel"
    assert pipeline.transformer.config.in_channels == 36
    for file in out.rglob("*.safetensors"):
        assert {w.dtype for w in load_file(file).values() if w.is_floating_point()} == {torch.float16}
    assert not [f for f in out.rglob("*.json") if str(tmp_path) in f.read_text() or "_name_or_path" in f.read_text()]
    # Trained on: the towers and the encoder stay, the decoder and the denoising network move.
    start = WanModel(name="made", source=str(out))
    on = train_nano(tmp_path / "on", tmp_path / "work-on", replace(plan, seed=2), device=cpu, start=start)
    assert not [f for f in on.rglob("*.json") if str(tmp_path) in f.read_text()]
    for part, same in (("vae", False), ("transformer", False), ("text_encoder", True), ("image_encoder", True)):
        name = next((out / part).glob("*.safetensors")).name
        assert ((out / part / name).read_bytes() == (on / part / name).read_bytes()) is same, part
    before, after = (load_file(next((f / "vae").glob("*.safetensors"))) for f in (out, on))
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"decoder", "post_quant_conv"}
    # From the finished checkpoints the same folder is made again, byte for byte.
    again = train_nano(tmp_path / "again", tmp_path / "work", plan, device=cpu)
    for part in ("vae", "transformer", "text_encoder", "image_encoder"):
        name = next((out / part).glob("*.safetensors")).name
        assert (out / part / name).read_bytes() == (again / part / name).read_bytes()
    assert WanModel(name="made", source=str(out)).fingerprint() == WanModel(name="x", source=str(again)).fingerprint()
