"""`cinetune demo`: render a film by candle light, tune the miniature on it, and show whether that worked."""

from pathlib import Path

import torch
from rich.console import Console

from cinetune import console
from cinetune.evaluate.table import print_table
from cinetune.footage.procedural import render_film
from cinetune.recipe import load_recipe
from cinetune.report.verdict import verdict
from cinetune.run import Finished, run

DOMAIN, SHOTS = "historical", 80
"""More than three minutes of a film whose look the miniature has never seen."""


def demo(out: Path, *, seed: int, device: torch.device, command: list[str]) -> Finished:
    """Render the film where it is not there yet, carry out a whole run on it, and print what came out."""
    film = out.parent / f"{out.name}-film" / f"{DOMAIN}-{seed}.mp4"
    if not film.is_file():
        with console.progress("render the film", SHOTS) as advance:
            render_film(film, DOMAIN, shots=SHOTS, seed=seed, progress=advance)
    # More is held out than usual, so that the verdict rests on enough scenes. Fewer steps than training would take
    # before it stops by itself, because a demonstration is over in minutes.
    changes = {"seed": str(seed), "footage.held_out": "0.5", "train.steps": "200"}
    recipe = load_recipe("nano", changes)
    finished = run([film], out, recipe, device=device, command=command)
    print_table(finished.results, Console())
    console.done(verdict(finished.results))
    console.done(f"demo: open {finished.page}")
    return finished
