"""`cinetune generate`: a run's held-out videos, a storyboard's film, or one picture and a prompt."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cinetune import console
from cinetune.errors import RecipeError

SUFFIX = ".toml"


def generate(
    what: Annotated[Path, typer.Argument(help="A run folder, a storyboard (.toml), or a picture with --prompt.")],
    prompt: Annotated[str, typer.Option("--prompt", help="What is to be seen, for a picture.")] = "",
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Length, for a picture.")] = 5.0,
    strength: Annotated[
        float | None, typer.Option("--strength", min=0, max=1, help="Restyle the picture first: 0 not, 1 freely.")
    ] = None,
    adapter: Annotated[
        list[str] | None, typer.Option("--adapter", help="A run folder or adapter, PATH or PATH:STRENGTH; repeatable.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="nano, wan, a diffusers folder or a hub id; default the run's own.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the film; default films/<name>.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For a picture; a storyboard has its own.")] = 0,
    speed: Annotated[str, typer.Option("--speed", help="exact, balanced or fast.")] = "exact",
    lever: Annotated[
        list[str] | None, typer.Option("--lever", help="NAME, NAME=VALUE or no-NAME; repeatable. See docs/levers.md.")
    ] = None,
    candidates: Annotated[int, typer.Option("--candidates", min=1, max=16, help="For each keyframe.")] = 4,
    choose: Annotated[
        str, typer.Option("--choose", help="ask: choose keyframes yourself; or SHOT=NUMBER,... from the sheet.")
    ] = "",
    formats: Annotated[
        list[str] | None, typer.Option("--format", help="h264, hevc10, prores, png8, png16, exr; repeatable.")
    ] = None,
    parallel: Annotated[
        str, typer.Option("--parallel", help="auto, or segments=N,guidance=N,ulysses=N,shard=yes under torchrun.")
    ] = "auto",
    weights: Annotated[
        str, typer.Option("--weights", help="Networks that keyframes are ranked through: auto, nano or published.")
    ] = "auto",
    precision: Annotated[str, typer.Option("--precision", help="auto, fp32 or bf16.")] = "auto",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Stage 2: a storyboard to a film, or a run's held-out first frames by base and tuned model. For torchrun, too."""
    from cinetune.devices import pick_device, rank

    if rank():
        console.hush()
    if what.is_dir():
        for name, given in (("--prompt", prompt), ("--adapter", adapter), ("--lever", lever), ("--choose", choose)):
            if given:
                raise RecipeError(f"{name}: {what} is a run folder, which has its own; give a storyboard or a picture")
        _run(what, device)
        return
    from cinetune.generate.film import make_film
    from cinetune.generate.storyboard import load_board, short_form
    from cinetune.generate.wishes import Wishes

    if what.suffix.lower() == SUFFIX:
        if prompt:
            raise RecipeError(f"--prompt: {what} is a storyboard, which has prompts of its own; leave it out")
        board = load_board(what)
    else:
        if not prompt:
            raise RecipeError(f"{what}: neither a run folder nor a storyboard; for a picture give --prompt too")
        board = short_form(what, prompt, seconds=seconds, seed=seed, strength=strength)
    wishes = Wishes(
        speed=speed, levers=tuple(lever or ()), candidates=candidates, choose=choose,
        formats=tuple(formats or ["h264"]),
        parallel=parallel, precision=precision, weights=weights,
        asks=sys.stdin.isatty(),
    )  # fmt: skip
    folder = out or Path("films") / what.stem
    make_film(
        board, folder, model, adapter or [], wishes, device=pick_device(device), command=["cinetune", *sys.argv[1:]]
    )


def _run(folder: Path, device: str) -> None:
    from cinetune import run as stages
    from cinetune.devices import pick_device, size
    from cinetune.generate.stage import generate as make
    from cinetune.runs import locked

    if size() > 1:
        raise RecipeError(f"{folder}: the videos of a run are made by one process; start it without torchrun")
    recipe, model = stages.reopen(folder)
    with locked(folder):
        make(folder, recipe, model, device=pick_device(device))
