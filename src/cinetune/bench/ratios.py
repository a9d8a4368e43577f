"""Ratios for the magnitude cache, measured on windows of one's own."""

from pathlib import Path

import torch

from cinetune import console
from cinetune.bench.plan import Size
from cinetune.bench.quality import starts
from cinetune.generate.levers._ratios import write_ratios
from cinetune.generate.levers.magnitude import calibrate
from cinetune.generate.network import Trained
from cinetune.generate.studio import open_studio
from cinetune.generate.window import Sampling, Window
from cinetune.models._contract import VideoModel


def measure_ratios(
    model: VideoModel, out: Path, size: Size, sampling: Sampling, *, windows: int, seed: int, adapter: Path | None,
    stills: Path | None, device: torch.device, dtype: torch.dtype,
) -> None:  # fmt: skip
    """Write the file that `--lever magnitude=THRESHOLD:FILE` takes.

    Args:
        stills: as `quality.starts`.

    Raises:
        RecipeError: too few stills, or a size that the model cannot make.
        WeightsError: weights missing, damaged or of another model.
    """
    begun = starts(windows, size, stills)
    trained = [Trained(adapter)] if adapter else []
    prompts = [start.prompt for start in begun]
    studio = open_studio(model, trained, sampling, size, prompts, device=device, dtype=dtype)
    asked = [Window(start.prompt, seed + n, size.frames, start.still) for n, start in enumerate(begun)]
    with console.progress("bench: windows", windows) as advance:
        ratios = calibrate(studio, asked, advance)
    write_ratios(out, ratios)
    console.done(f"bench: {sampling.steps} ratios of {windows} windows in {out}; use --lever magnitude=0.06:{out}")
