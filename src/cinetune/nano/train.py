"""`cinetune nano train`: render, towers, VAE, latents, DiT, metric backbones, pack, measure."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from cinetune.console import done, note
from cinetune.errors import RunError
from cinetune.files import folder_aside
from cinetune.footage.procedural import BASE_WORLD
from cinetune.models._scheduler import make_scheduler
from cinetune.models._wan import WanEncoders, WanModel
from cinetune.nano import backbones, data, dit, towers, vae


@dataclass(frozen=True)
class Plan:
    """How much of everything; the defaults made the weights in the package."""

    clips: int = 4000
    towers_steps: int = 1500
    vae_steps: int = 3000
    dit_clips: int = 3200
    dit_steps: int = 2600
    seed: int = 2021
    metrics: backbones.Plan = field(default_factory=backbones.Plan)

    def scaled(self, share: float) -> "Plan":
        """Return the plan with `share` of the clips and steps, at least a handful of each."""
        return Plan(
            clips=max(16, round(self.clips * share)),
            dit_clips=max(16, round(self.dit_clips * share)),
            towers_steps=max(2, round(self.towers_steps * share)),
            vae_steps=max(5, round(self.vae_steps * share)),
            dit_steps=max(2, round(self.dit_steps * share)),
            seed=self.seed,
            metrics=self.metrics.scaled(share),
        )


def train_nano(out: Path, work: Path, plan: Plan, *, device: torch.device) -> Path:
    """Make the miniature from nothing and write it to `out` in diffusers layout.

    `work` keeps rendered clips, latents and checkpoints; calling again with the same plan goes on where it stopped.

    Raises:
        RunError: `out` holds something else than a model, which would be lost, or a folder cannot be written.
    """
    if out.exists() and not (out / "model_index.json").is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise RunError(f"{out}: holds something else than a model, and would be replaced; choose another --out")
    clips = data.rendered(work, name="base", domains=BASE_WORLD, count=plan.clips, seed=plan.seed)
    encoders_, tokenizer = towers.train(work, clips, steps=plan.towers_steps, seed=plan.seed, device=device)
    video_vae = vae.train(work, clips, steps=plan.vae_steps, seed=plan.seed, device=device)
    encoders = WanEncoders(
        vae=video_vae.eval().requires_grad_(False),
        text_encoder=encoders_.text,
        tokenizer=tokenizer,
        image_encoder=encoders_.image,
        image_processor=towers.build_processor(),
        device=device,
    )
    note(f"latents: mean and deviation {video_vae.config.latents_mean[:2]}..., {video_vae.config.latents_std[:2]}...")
    latents = dit.encode(work / "base.latents.pt", clips.first(plan.dit_clips), encoders)
    model = WanModel(name="nano", source=str(out))
    network = dit.train(work, model, latents, steps=plan.dit_steps, seed=plan.seed, device=device)
    if not (work / "metrics" / "backbones.json").is_file():
        with folder_aside(work / "metrics") as made:
            backbones.train_backbones(made, seed=plan.seed, plan=plan.metrics, progress=note)
    pack(out, encoders, network, work / "metrics")
    done(f"nano: {sum(f.stat().st_size for f in out.rglob('*') if f.is_file()) / 2**20:.1f} MiB in {out}")
    return out


def pack(out: Path, encoders: WanEncoders, network: torch.nn.Module, metrics: Path | None = None) -> None:
    """Write the parts in diffusers layout, weights in fp16, and the metric backbones beside them."""
    with folder_aside(out) as folder:
        if metrics is not None:
            shutil.copytree(metrics, folder / "metrics")
        encoders.vae.save_pretrained(folder / "vae")
        encoders.text_encoder.save_pretrained(folder / "text_encoder")
        encoders.tokenizer.save_pretrained(folder / "tokenizer")
        encoders.image_encoder.save_pretrained(folder / "image_encoder")
        encoders.image_processor.save_pretrained(folder / "image_processor")
        network.save_pretrained(folder / "transformer")  # type: ignore[operator]
        make_scheduler(dit.SHIFT).save_pretrained(folder / "scheduler")
        for part in ("vae", "text_encoder", "image_encoder", "transformer"):
            for file in (folder / part).glob("*.safetensors"):
                half = {k: v.half() if v.is_floating_point() else v for k, v in load_file(file).items()}
                save_file(half, file, metadata={"format": "pt"})
        (folder / "model_index.json").write_text(json.dumps(INDEX, indent=2) + "\n", encoding="utf-8")


INDEX = {
    "_class_name": "WanImageToVideoPipeline",
    "_diffusers_version": "0.42.1",
    "image_encoder": ["transformers", "CLIPVisionModel"],
    "image_processor": ["transformers", "CLIPImageProcessor"],
    "scheduler": ["diffusers", "UniPCMultistepScheduler"],
    "text_encoder": ["transformers", "UMT5EncoderModel"],
    "tokenizer": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "WanTransformer3DModel"],
    "vae": ["diffusers", "AutoencoderKLWan"],
}
"""The published 14B index, part for part."""
