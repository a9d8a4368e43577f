"""The miniature's video VAE: AutoencoderKLWan, first on single frames, then on 5 and 17 frames, then the decoder alone.

The last part pulls the decoder towards what the package's own LPIPS network sees. The encoder stays as it is, and with
it every latent, so that the denoising network may be trained before, after or beside it.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor, nn

from cinetune.nano import whole
from cinetune.nano.data import Clips
from cinetune.nano.fit import fit
from cinetune.nano.muon import optimisers

PHASES = ((1, 32, 48, 32), (5, 64, 96, 4), (17, 64, 96, 2))
"""Frames, height, width and batch of each phase."""
SHARE = (0.57, 0.23, 0.2)
"""Share of the steps spent in each phase; a step of the later ones costs two to three times as much."""
PERCEPTUAL = 0.3
"""Weight of the LPIPS term beside the error of the pixels, when the decoder is sharpened."""


def build(seed: int, base_dim: int = 32) -> AutoencoderKLWan:
    """Return an untrained VAE: 8x in space, 4x in time, 16 channels, as in Wan2.1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = AutoencoderKLWan(
            base_dim=base_dim,
            dim_mult=[1, 2, 4],
            num_res_blocks=1,
            temperal_downsample=[True, True],
            patch_size=2,
            in_channels=12,
            out_channels=12,
            z_dim=16,
            scale_factor_spatial=8,
            is_residual=False,
        )
    whole.start_as_images(vae)
    return vae


def train(folder: Path, clips: Clips, *, steps: int, seed: int, device: torch.device) -> AutoencoderKLWan:
    """Train to rebuild rendered clips, the moving subject weighing three times as much as the background."""
    vae = build(seed).to(device)
    ends = np.cumsum(np.array(SHARE) * steps)

    def loss_of(step: int, generator: torch.Generator) -> Tensor:
        phase = int(np.searchsorted(ends[:-1], step, side="right"))
        pixels, weight = _batch(clips, PHASES[phase], generator)
        pixels, weight = pixels.to(device), weight.to(device)
        mean, log_variance = whole.encode(vae, pixels)
        noise = torch.randn(mean.shape, generator=generator).to(device)
        error = whole.decode(vae, mean + noise * (0.5 * log_variance).exp()) - pixels
        rebuild = (weight * (0.3 * error.abs() + 2.0 * error.square())).mean() / weight.mean()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        return rebuild + 2e-5 * kl

    steppers = optimisers(vae, lr=2e-3)
    trained = fit(folder, vae, loss_of, name="vae", steps=steps, optimisers=steppers, seed=seed, ema=0.995)
    assert isinstance(trained, AutoencoderKLWan)
    set_statistics(trained, clips, device)
    return trained


def _batch(clips: Clips, phase: tuple[int, int, int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    frames, height, width, batch = phase
    _, total, full_height, full_width, _ = clips.frames.shape

    def draw(high: int) -> int:
        return int(torch.randint(high, (1,), generator=generator))

    pixels, weights = [], []
    for _ in range(batch):
        n, f = draw(len(clips.frames)), draw(total - frames + 1)
        y, x = draw(full_height - height + 1), draw(full_width - width + 1)
        window = (n, slice(f, f + frames), slice(y, y + height), slice(x, x + width))
        video = torch.from_numpy(clips.frames[window].astype(np.float32) / 127.5 - 1)
        if draw(2):
            video = video.flip(2)
            mask = np.flip(clips.foreground[window], axis=2).copy()
        else:
            mask = clips.foreground[window].copy()
        pixels.append(video.permute(3, 0, 1, 2))
        weights.append(1 + 2 * torch.from_numpy(mask).float().unsqueeze(0))
    return torch.stack(pixels), torch.stack(weights)


def sharpen(
    folder: Path, vae: AutoencoderKLWan, clips: Clips, eye: nn.Module, *, steps: int, seed: int, device: torch.device
) -> AutoencoderKLWan:
    """Train the decoder on whole clips, for squared error and for what `eye` sees of each frame.

    Args:
        vae: a trained one; is changed in place.
        eye: distance of two images in -1..1, such as `nano_lpips`; stays as it is.
    """
    vae = vae.to(device).requires_grad_(False)
    for part in (vae.post_quant_conv, vae.decoder):
        part.requires_grad_(True)
    eye = eye.to(device).eval().requires_grad_(False)

    def loss_of(_: int, generator: torch.Generator) -> Tensor:
        pixels, weight = _batch(clips, PHASES[-1], generator)
        pixels, weight = pixels.to(device), weight.to(device)
        with torch.no_grad():
            mean, log_variance = whole.encode(vae, pixels)
            mean += torch.randn(mean.shape, generator=generator).to(device) * (0.5 * log_variance).exp()
        made = whole.decode(vae, mean)
        error = made - pixels
        rebuild = (weight * (0.3 * error.abs() + 2.0 * error.square())).mean() / weight.mean()
        seen: Tensor = eye(made.clamp(-1, 1).transpose(1, 2).flatten(0, 1), pixels.transpose(1, 2).flatten(0, 1)).mean()
        total: Tensor = rebuild + PERCEPTUAL * seen
        return total

    steppers = optimisers(vae, lr=5e-4)
    sharper = fit(folder, vae, loss_of, name="sharpen", steps=steps, optimisers=steppers, seed=seed, ema=0.99)
    assert isinstance(sharper, AutoencoderKLWan)
    return sharper


@torch.no_grad()
def set_statistics(vae: AutoencoderKLWan, clips: Clips, device: torch.device, count: int = 128) -> None:
    """Measure mean and deviation of the latents over `count` clips and write them into the VAE's config."""
    latents = []
    for index in np.linspace(0, len(clips.frames) - 1, count).astype(int):
        video = torch.from_numpy(clips.frames[index].astype(np.float32) / 127.5 - 1).permute(3, 0, 1, 2)
        latents.append(whole.encode(vae, video.unsqueeze(0).to(device))[0].cpu())
    stacked = torch.cat(latents).transpose(0, 1).flatten(1)
    vae.register_to_config(
        latents_mean=[round(v, 5) for v in stacked.mean(1).tolist()],
        latents_std=[round(v, 5) for v in stacked.std(1).tolist()],
    )
