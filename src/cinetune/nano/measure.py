"""`cinetune nano measure`: how good the miniature is, on held-out clips of the world it was trained on."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from cinetune.console import done, progress
from cinetune.files import write_aside, write_text
from cinetune.footage.procedural import BASE_WORLD, RenderedClip, render_clip
from cinetune.metrics.backbones._resolve import resolve
from cinetune.models._contract import Condition, Encoders, VideoModel
from cinetune.models._sampling import draw_noise, sample
from cinetune.ops.statistics import bootstrap_mean
from cinetune.ops.video import to_frames, to_pixels

HELD_OUT_SEED = 9_000_000
"""Training drew its seeds from far below this one."""

Frames = UInt8[np.ndarray, "f h w 3"]


@dataclass(frozen=True)
class Seen:
    """One held-out clip and what the model made of it."""

    clip: RenderedClip
    rebuilt: Frames
    """Through the VAE and back."""
    made: Frames
    """Continued from the first frame."""


def measure(
    model: VideoModel, out: Path, *, count: int, steps: int, guidance: float, lpips: Path | None, device: torch.device
) -> dict[str, dict[str, float]]:
    """Write quality.json and samples.png to `out` and return the numbers, each with its 95 % interval and n.

    Args:
        count: held-out clips.
        steps, guidance: of the sampler.
        lpips: folder of the published LPIPS weights; None takes the package's own network, and says so.

    Raises:
        WeightsError: weights missing or damaged.
    """
    encoders, network = model.load_encoders(device), model.load_transformer(device, torch.float32)
    eye: Any = resolve("lpips", "published" if lpips else "nano", {"lpips_alex": lpips} if lpips else {}, device)
    seen = []
    with progress("measure", count) as advance:
        for n in range(count):
            clip = render_clip(BASE_WORLD[n % len(BASE_WORLD)], seed=HELD_OUT_SEED + n)
            seen.append(_look(clip, model, encoders, network, n, steps=steps, guidance=guidance))
            advance(1)

    def distance(video: Frames, clip: RenderedClip) -> float:
        return float(eye.distances(video[1:], clip.frames[1:]).mean())

    still = np.array([distance(np.repeat(s.clip.frames[:1], len(s.made), axis=0), s.clip) for s in seen])
    tuned = np.array([distance(s.made, s.clip) for s in seen])
    numbers = {
        "vae_psnr_db": _interval([_psnr(s.rebuilt, s.clip.frames) for s in seen]),
        "vae_foreground_psnr_db": _interval([_psnr(s.rebuilt, s.clip.frames, s.clip.foreground) for s in seen]),
        "lpips": _interval(tuned),
        "lpips_first_frame_held": _interval(still),
        "lpips_minus_first_frame_held": _interval(tuned - still),
        "motion_over_true_motion": _interval([_motion(s.made) / _motion(s.clip.frames) for s in seen]),
        "psnr_db": _interval([_psnr(s.made[1:], s.clip.frames[1:]) for s in seen]),
        "psnr_db_first_frame_held": _interval(
            [_psnr(np.repeat(s.clip.frames[:1], len(s.made) - 1, axis=0), s.clip.frames[1:]) for s in seen]
        ),
    }
    told = {"n": count, "steps": steps, "guidance": guidance, "lpips": str(eye.identity), "numbers": numbers}
    write_text(out / "quality.json", json.dumps(told, indent=2) + "\n")
    _sheet(out / "samples.png", seen[:12])
    for name, number in numbers.items():
        done(f"{name}: {number['mean']:.3f} [{number['low']:.3f}, {number['high']:.3f}] n={count}")
    return numbers


@torch.no_grad()
def _look(
    clip: RenderedClip, model: VideoModel, encoders: Encoders, network: torch.nn.Module, n: int,
    *, steps: int, guidance: float,
) -> Seen:  # fmt: skip
    pixels = to_pixels(clip.frames)
    text, negative = encoders.encode_text([clip.caption, ""])
    condition = Condition(
        first=encoders.condition(pixels[:, :, 0], len(clip.frames)),
        image=encoders.encode_image(clip.frames[0]).unsqueeze(0),
        text=text.unsqueeze(0),
        text_length=(len(text),),
    )
    latents = encoders.encode_video(pixels)
    noise = draw_noise(tuple(latents.shape[1:]), n).unsqueeze(0)
    made = sample(model, network, condition, noise, steps=steps, shift=3.0, guidance=guidance, negative=negative)
    return Seen(clip, to_frames(encoders.decode(latents)[0]), to_frames(encoders.decode(made)[0]))


def _psnr(a: np.ndarray, b: np.ndarray, weight: np.ndarray | None = None) -> float:
    """PSNR in dB of the mean squared error, over the pixels where `weight` is true."""
    error = np.square(a.astype(np.float64) - b).mean(axis=-1)
    mse = error[weight].mean() if weight is not None and weight.any() else error.mean()
    return float(10 * np.log10(255**2 / max(mse, 1e-9)))


def _motion(video: Frames) -> float:
    return float(np.abs(np.diff(video.astype(np.float64), axis=0)).mean())


def _interval(values: "list[float] | np.ndarray") -> dict[str, float]:
    array = np.asarray(values, np.float64)
    low, high = bootstrap_mean(array, level=0.95, resamples=2000, seed=0)
    return {"mean": float(array.mean()), "low": low, "high": high}


def _sheet(path: Path, seen: list[Seen]) -> None:
    """Draw truth, rebuilt and continued frames of each clip, one row a clip."""
    columns = (0, 4, 8, 12, 16)
    rows = [np.concatenate([v[k] for v in (s.clip.frames, s.rebuilt, s.made) for k in columns], axis=1) for s in seen]
    picture = Image.fromarray(np.concatenate(rows, axis=0))
    with write_aside(path) as aside:
        picture.save(aside, format="PNG")
