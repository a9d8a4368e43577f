"""The command `cinetune doctor`: parse and call."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def doctor(
    model: Annotated[str, typer.Option("--model", help="nano, wan, a folder, a hub id, or a config.json.")] = "wan",
    weights: Annotated[
        Literal["stored", "random"], typer.Option("--weights", help="random: the shape alone, nothing is downloaded.")
    ] = "stored",
    gpu: Annotated[str | None, typer.Option("--gpu", help="Name of a GPU; default: the one found here.")] = None,
    gpus: Annotated[int, typer.Option("--gpus", min=1, help="How many of them.")] = 1,
    frames: Annotated[int, typer.Option("--frames", min=1, help="Of one clip, 4n + 1.")] = 33,
    height: Annotated[int, typer.Option("--height", min=16, help="Pixels.")] = 480,
    width: Annotated[int, typer.Option("--width", min=16, help="Pixels.")] = 832,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Clips of one micro-batch.")] = 1,
    rank: Annotated[int, typer.Option("--rank", min=1, help="Of the adapter.")] = 8,
    targets: Annotated[
        str, typer.Option("--targets", help="cross-attention, attention, all-linear, or a regular expression.")
    ] = "cross-attention",
    image_projections: Annotated[bool, typer.Option(help="Adapt the image keys and values too.")] = True,
    full: Annotated[bool, typer.Option("--full", help="Train every weight instead of an adapter.")] = False,
    precision: Annotated[Literal["bf16", "fp32", "fp8"], typer.Option("--precision", help="Of the base.")] = "bf16",
    checkpointing: Annotated[bool, typer.Option(help="Recompute block activations.")] = True,
    encoders: Annotated[
        Literal["fp32", "bf16", "freed"], typer.Option("--encoders", help="Text and image encoder on the GPU.")
    ] = "fp32",
    steps: Annotated[int, typer.Option("--steps", min=1, help="Sampler steps of one video.")] = 40,
    guidance: Annotated[float, typer.Option("--guidance", min=1, help="1 is one forward pass a step.")] = 5.0,
    share: Annotated[float | None, typer.Option("--share", help="Share of the peak to expect, 0 to 1.")] = None,
    calibrate: Annotated[
        float | None, typer.Option("--calibrate", help="Measured seconds of one forward pass; gives the share.")
    ] = None,
    claim: Annotated[float | None, typer.Option("--claim", help="Seconds someone says one video takes.")] = None,
    vae_factor: Annotated[
        int | None, typer.Option("--vae-factor", help="Pixels of one latent, for a bare config.json.")
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Run one forward pass and one LoRA step here, and compare.")
    ] = False,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Timed runs of each; the median counts.")] = 3,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of random weights, adapter and inputs.")] = 0,
    device: Annotated[str, typer.Option("--device", help="To measure on: auto, cpu, cuda or cuda:N.")] = "auto",
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write everything there.")] = None,
) -> None:
    """Say what fits this machine, and how fast it will be, from config files alone; --measure tries it."""
    from cinetune.doctor.doctor import doctor as diagnose

    diagnose(
        model, gpu=gpu, gpus=gpus, frames=frames, height=height, width=width, batch=batch, rank=rank, targets=targets,
        image_projections=image_projections, full=full, checkpointing=checkpointing, steps=steps, guidance=guidance,
        share=share, calibrate=calibrate, claim=claim, vae_factor=vae_factor, json_file=json_file,
        precision=precision, encoders=encoders, weights=weights, measure=measure, repeats=repeats, seed=seed,
        device=device,
    )  # fmt: skip
