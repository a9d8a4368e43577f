"""`cinetune nano train`: render, metric backbones, towers, VAE, latents, DiT, pack; or train an existing one on."""

import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from cinetune.console import done, note
from cinetune.errors import RunError
from cinetune.files import folder_aside
from cinetune.footage.procedural import BASE_WORLD
from cinetune.metrics.backbones import nano_lpips
from cinetune.models._encoders import WanEncoders
from cinetune.models._facts import HALF_VAE
from cinetune.models._scheduler import make_scheduler
from cinetune.models._wan import WanModel
from cinetune.nano import backbones, data, dit, towers, vae


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    clips: int = 4000
    towers_steps: int = 1500
    vae_steps: int = 3000
    sharpen_steps: int = 1000
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
            sharpen_steps=max(2, round(self.sharpen_steps * share)),
            dit_steps=max(2, round(self.dit_steps * share)),
            seed=self.seed,
            metrics=self.metrics.scaled(share),
        )


def train_nano(out: Path, work: Path, plan: Plan, *, device: torch.device, start: WanModel | None = None) -> Path:
    """Make the miniature and write it to `out` in diffusers layout.

    `work` keeps rendered clips, latents and checkpoints; calling again with the same plan goes on where it stopped.

    Args:
        start: None makes everything from nothing. A miniature keeps its towers, metric backbones and encoder, and its
            decoder and denoising network are trained on, over clips that it has not seen where `plan.seed` is another.

    Raises:
        RunError: `out` holds something else than a model, which would be lost, or a folder cannot be written.
    """
    if out.exists() and not (out / "model_index.json").is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise RunError(f"{out}: holds something else than a model, and would be replaced; choose another --out")
    clips = data.rendered(work, name="base", domains=BASE_WORLD, count=plan.clips, seed=plan.seed)
    if not (work / "metrics" / "backbones.json").is_file():
        with folder_aside(work / "metrics") as made:
            if start is None:
                backbones.train_backbones(made, seed=plan.seed, plan=plan.metrics, progress=note)
            else:
                shutil.copytree(start.folder / "metrics", made, dirs_exist_ok=True)
    encoders = _encoders(work, clips, plan, device) if start is None else start.load_encoders(device)
    eye = nano_lpips.load(work / "metrics" / "nano_lpips.safetensors", device).network
    sharper = vae.sharpen(work, encoders.vae, clips, eye, steps=plan.sharpen_steps, seed=plan.seed, device=device)
    encoders = replace(encoders, vae=sharper.requires_grad_(False))
    note(f"latents: mean and deviation {sharper.config.latents_mean[:2]}..., {sharper.config.latents_std[:2]}...")
    latents = dit.encode(work / "base.latents.pt", clips.first(plan.dit_clips), encoders)
    known: Any = None if start is None else start.load_transformer(device, torch.float32)
    network = dit.train(work, latents, steps=plan.dit_steps, seed=plan.seed, device=device, network=known)
    pack(out, encoders, network, work / "metrics")
    done(f"nano: {sum(f.stat().st_size for f in out.rglob('*') if f.is_file()) / 2**20:.1f} MiB in {out}")
    return out


def _encoders(work: Path, clips: data.Clips, plan: Plan, device: torch.device) -> WanEncoders:
    """Train the towers and the VAE from nothing."""
    encoders, tokenizer = towers.train(work, clips, steps=plan.towers_steps, seed=plan.seed, device=device)
    return WanEncoders(
        vae=vae.train(work, clips, steps=plan.vae_steps, seed=plan.seed, device=device).eval(),
        text_encoder=encoders.text,
        tokenizer=tokenizer,
        image_encoder=encoders.image,
        image_processor=towers.build_processor(),
        device=device,
    )


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
        for config in folder.glob("*/*config.json"):
            _clean(config, {HALF_VAE: True} if config.parent.name == "vae" else {})
        (folder / "model_index.json").write_text(json.dumps(INDEX, indent=2) + "\n", encoding="utf-8")


def _clean(config: Path, more: dict[str, bool]) -> None:
    """Leave out where the libraries loaded a part from: a folder of this machine."""
    tree = json.loads(config.read_text(encoding="utf-8"))
    kept = {k: v for k, v in tree.items() if k not in ("_name_or_path", "is_local", "local_files_only")}
    config.write_text(json.dumps(kept | more, indent=2) + "\n", encoding="utf-8")


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
