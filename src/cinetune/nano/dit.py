"""The miniature's denoising network: WanTransformer3DModel with 36 input channels, trained by flow matching."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

from cinetune.console import progress
from cinetune.files import write_aside
from cinetune.models._contract import Condition
from cinetune.models._encoders import WanEncoders
from cinetune.models._facts import Facts
from cinetune.models._velocity import velocity
from cinetune.nano import whole
from cinetune.nano.data import FRAMES, Clips
from cinetune.nano.fit import fit
from cinetune.nano.muon import optimisers
from cinetune.ops import flow

BATCH = 24
DROPOUT = 0.1
"""Share of clips trained without caption, and, drawn separately, without the first frame."""
SHIFT = 3.0
FACTS = Facts(kind="i2v", image_tokens=True, boundary=None, spatial=8, patch=2, half_vae=True)
"""What the miniature's own configs are going to say."""


@dataclass(frozen=True)
class Latents:
    """Everything about n clips that the network sees, encoded once."""

    video: Tensor
    """n 16 5 8 12, fp16."""
    first: Tensor
    """Latents of [first frame, grey, ...], n 16 5 8 12, fp16."""
    image: Tensor
    """n tokens 96, fp16."""
    text: list[Tensor]
    empty: Tensor
    """Tokens of the empty caption."""


def build(seed: int, text_dim: int, image_dim: int) -> WanTransformer3DModel:
    """Return an untrained network of 192 x 6 (about 3.9 M parameters)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=4,
            attention_head_dim=48,
            in_channels=36,
            out_channels=16,
            text_dim=text_dim,
            freq_dim=128,
            ffn_dim=512,
            num_layers=6,
            cross_attn_norm=True,
            image_dim=image_dim,
            added_kv_proj_dim=192,
            rope_max_seq_len=128,
        )


@torch.no_grad()
def encode(path: Path, clips: Clips, encoders: WanEncoders, batch: int = 4) -> Latents:
    """Encode all clips once; a file that is there is read back."""
    if not path.is_file():
        video: list[Tensor] = []
        first: list[Tensor] = []
        image: list[Tensor] = []
        with progress(f"encode {path.stem}", len(clips.frames)) as advance:
            for start in range(0, len(clips.frames), batch):
                frames = np.asarray(clips.frames[start : start + batch])
                pixels = torch.from_numpy(frames.astype(np.float32) / 127.5 - 1).permute(0, 4, 1, 2, 3)
                grey = torch.zeros_like(pixels)
                grey[:, :, 0] = pixels[:, :, 0]
                for store, what in ((video, pixels), (first, grey)):
                    mean = whole.encode(encoders.vae, what.to(encoders.device))[0]
                    store.append(encoders._normalise(mean).half())
                image += [encoders.encode_image(f[0]).half() for f in frames]
                advance(len(frames))
        text = encoders.encode_text(["", *clips.captions])
        with write_aside(path) as aside:
            saved = {"video": torch.cat(video), "first": torch.cat(first), "image": torch.stack(image), "text": text}
            torch.save(saved, aside)
    saved = torch.load(path, weights_only=True)
    return Latents(saved["video"], saved["first"], saved["image"], saved["text"][1:], saved["text"][0])


def batch_of(latents: Latents, pick: list[int], generator: torch.Generator | None) -> tuple[Tensor, Condition]:
    """Return clips and their conditions; with a generator, captions and first frames are dropped at random."""
    drop = torch.zeros(2, len(pick))
    if generator is not None:
        drop = torch.rand(2, len(pick), generator=generator)
        drop = (drop < DROPOUT).float()
    text = [latents.empty if drop[0, row] else latents.text[n] for row, n in enumerate(pick)]
    keep = (1 - drop[1]).view(-1, 1, 1, 1, 1)
    mask = torch.zeros(len(pick), 4, *latents.video.shape[2:])
    mask[:, :, 0] = 1
    condition = Condition(
        first=torch.cat([mask, latents.first[pick].float()], dim=1) * keep,
        image=latents.image[pick].float() * keep.view(-1, 1, 1),
        text=torch.nn.utils.rnn.pad_sequence(text, batch_first=True),
        text_length=tuple(len(t) for t in text),
    )
    return latents.video[pick].float(), condition


def train(
    folder: Path, latents: Latents, *, steps: int, seed: int, device: torch.device,
    network: WanTransformer3DModel | None = None,
) -> WanTransformer3DModel:  # fmt: skip
    """Train `network`, or a new one, on encoded clips; returns the moving average."""
    network = (network or build(seed, latents.empty.shape[1], latents.image.shape[2])).to(device).requires_grad_(True)

    def loss_of(step: int, generator: torch.Generator) -> Tensor:
        pick = torch.randint(len(latents.video), (BATCH,), generator=generator).tolist()
        data, condition = batch_of(latents, pick, generator)
        sigma = flow.shift_sigma(flow.sample_sigma(BATCH, generator=generator), SHIFT)
        noise = torch.randn(data.shape, generator=generator)
        noisy = flow.interpolate(data, noise, sigma)
        condition = Condition(
            condition.first.to(device), condition.image.to(device), condition.text.to(device), condition.text_length
        )
        predicted = velocity(network, FACTS, noisy.to(device), sigma.to(device), condition)
        return (predicted - flow.velocity(data, noise).to(device)).square().mean()

    assert latents.video.shape[2] == (FRAMES - 1) // 4 + 1
    steppers = optimisers(network, lr=1.5e-3, weight_decay=0.01)
    trained = fit(folder, network, loss_of, name="dit", steps=steps, optimisers=steppers, seed=seed, ema=0.995)
    assert isinstance(trained, WanTransformer3DModel)
    return trained
