"""The command line: parse, call, and turn every error into one line and exit code 2."""

import dataclasses
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cinetune import __version__, cli_adapter, cli_bench, cli_doctor, cli_evaluate, cli_generate, console
from cinetune.errors import CinetuneError, RecipeError
from cinetune.recipe import Recipe, load_recipe, presets

app = typer.Typer(
    name="cinetune",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
nano = typer.Typer(help="The embedded miniature.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(nano, name="nano")
app.add_typer(cli_adapter.app, name="adapter")
app.add_typer(cli_bench.app, name="bench")
app.command("doctor")(cli_doctor.doctor)
app.command("evaluate")(cli_evaluate.evaluate)
app.command("generate")(cli_generate.generate)

Films = Annotated[list[Path], typer.Argument(help="Film files, folders of them, or patterns.")]
RunFolder = Annotated[Path, typer.Argument(help="A run folder, as made by run or prepare.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="A preset or a TOML file.")]
ModelName = Annotated[str | None, typer.Option("--model", help="nano, wan, a diffusers folder or a hub id.")]
SystemChanges = Annotated[list[str] | None, typer.Option("--set", help="system.field=value; may be repeated.")]
Changes = Annotated[list[str] | None, typer.Option("--set", help="section.field=value; may be repeated.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Out = Annotated[Path | None, typer.Option("--out", help="Run folder; default runs/<name of the first film>.")]


def _version(wanted: bool) -> bool:
    if wanted:
        console.done(f"cinetune {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def top(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Turns a little film footage into a video model that makes scenes in that film's style, and proves it."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Run folder.")] = Path("demo-run"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seeds the film and the run.")] = 0,
    device: Device = "auto",
) -> None:
    """The whole story in minutes, offline, on a CPU: film, training, generation, measurement, page."""
    from cinetune.demo import demo as play
    from cinetune.devices import pick_device

    play(out, seed=seed, device=pick_device(device), command=_command())


@app.command()
def run(
    films: Films, out: Out = None, recipe: RecipeName = "nano", model: ModelName = None, changes: Changes = None,
    device: Device = "auto",
) -> None:  # fmt: skip
    """From films to a page that shows whether it worked. Killed or stopped, the same command goes on."""
    from cinetune.devices import pick_device
    from cinetune.run import run as carry_out

    chosen = _recipe(recipe, model, changes)
    carry_out(films, _folder(out, films), chosen, device=pick_device(device), command=_command())


@app.command()
def prepare(
    films: Films, out: Out = None, recipe: RecipeName = "nano", model: ModelName = None, changes: Changes = None,
    device: Device = "auto",
) -> None:  # fmt: skip
    """Cut films into clips with captions and splits, and cache what the model sees of them."""
    from cinetune import run as stages
    from cinetune.devices import pick_device
    from cinetune.runs import locked

    chosen, folder, where = _recipe(recipe, model, changes), _folder(out, films), pick_device(device)
    built = stages.checked_model(chosen)
    stages.start(films, folder, chosen, device=where, command=_command())
    with locked(folder):
        stages.prepare_stage(films, folder, chosen, built, where)


@app.command()
def train(run_folder: RunFolder, changes: SystemChanges = None, device: Device = "auto") -> None:
    """Stage 1: train on a prepared run, with early stopping; goes on from its last checkpoint. Runs under torchrun."""
    from cinetune import run as stages
    from cinetune.devices import pick_device, rank
    from cinetune.runs import locked

    if rank():
        console.hush()
    recipe, model = stages.reopen(run_folder, _changes(changes))
    with locked(run_folder):
        stages.train_stage(run_folder, recipe, model, pick_device(device))


@app.command()
def report(run_folder: RunFolder) -> None:
    """Write the page of a run: one folder that opens in a browser without a server."""
    from cinetune import run as stages
    from cinetune.runs import locked

    stages.reopen(run_folder)
    with locked(run_folder):
        console.done(f"report: {stages.report_stage(run_folder)}")


@app.command()
def render(
    domain: Annotated[str, typer.Argument(help="day, dusk, noir, snow, historical, scifi or human.")],
    path: Annotated[Path, typer.Argument(help="The mp4 file to write; its ground truth goes beside it.")],
    shots: Annotated[int, typer.Option("--shots", min=1, help="Shots of the film.")] = 24,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed is another film.")] = 0,
) -> None:
    """Render a film to try things on, with its cuts, captions and camera moves beside it."""
    from cinetune.footage.procedural import render_film

    with console.progress(f"render {path.name}", shots) as advance:
        render_film(path, domain, shots=shots, seed=seed, progress=advance)
    console.done(f"render: {shots} shots in {path}")


@nano.command("train")
def nano_train(
    out: Annotated[Path, typer.Option("--out", help="Where the finished model goes.")] = Path("nano"),
    work: Annotated[Path, typer.Option("--work", help="Rendered clips and checkpoints.")] = Path("nano-work"),
    scale: Annotated[float, typer.Option("--scale", min=0.001, help="Share of the clips and steps.")] = 1.0,
    start: Annotated[str | None, typer.Option("--start", help="Train this miniature on: nano, or a folder.")] = None,
    clips: Annotated[int | None, typer.Option("--clips", min=16, help="Rendered clips.")] = None,
    sharpen_steps: Annotated[int | None, typer.Option("--sharpen-steps", min=1, help="Of the decoder alone.")] = None,
    dit_steps: Annotated[int | None, typer.Option("--dit-steps", min=1, help="Of the denoising network.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Of clips, order and noise.")] = None,
    device: Device = "auto",
) -> None:
    """Make the embedded miniature from nothing, or train one on; goes on from its last checkpoint."""
    from cinetune.devices import pick_device
    from cinetune.models._resolve import find_model
    from cinetune.nano.train import Plan, train_nano

    given = {"clips": clips, "dit_clips": clips, "sharpen_steps": sharpen_steps, "dit_steps": dit_steps, "seed": seed}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    plan = dataclasses.replace(Plan().scaled(scale), **changes)
    train_nano(out, work, plan, device=pick_device(device), start=find_model(start) if start else None)


@nano.command("measure")
def nano_measure(
    model: Annotated[str, typer.Option("--model", help="nano, or the folder of another miniature.")] = "nano",
    out: Annotated[Path, typer.Option("--out", help="Folder for quality.json and samples.png.")] = Path("nano-quality"),
    count: Annotated[int, typer.Option("--count", min=2, help="Held-out clips.")] = 64,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Sampler steps.")] = 20,
    guidance: Annotated[float, typer.Option("--guidance", min=1, help="Classifier-free guidance.")] = 1.0,
    lpips: Annotated[Path | None, typer.Option("--lpips", help="Folder of the published LPIPS weights.")] = None,
    device: Device = "auto",
) -> None:
    """Measure the miniature on held-out clips of its own world, and draw what it makes of them."""
    from cinetune.devices import pick_device
    from cinetune.models._resolve import find_model
    from cinetune.nano.measure import measure

    measure(
        find_model(model), out, count=count, steps=steps, guidance=guidance, lpips=lpips, device=pick_device(device)
    )


def main() -> None:
    """Run the command line. Errors raised on purpose: one line on standard error, exit code 2."""
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    try:
        app()
    except CinetuneError as error:
        console.error(f"cinetune: {' '.join(str(error).split())}")
        sys.exit(2)
    except KeyboardInterrupt:
        console.note("cinetune: stopped; the same command goes on from here")
        sys.exit(130)


def _changes(given: list[str] | None) -> dict[str, str]:
    overrides = {}
    for change in given or []:
        key, equals, value = change.partition("=")
        if not equals:
            raise RecipeError(f"--set {change}: write section.field=value")
        overrides[key.strip()] = value.strip()
    return overrides


def _recipe(name: str, model: str | None, changes: list[str] | None) -> Recipe:
    overrides = _changes(changes)
    if model is not None:
        overrides["model"] = f'"{model}"' if '"' not in model else model
    if not name:
        raise RecipeError(f"--recipe: give a preset ({', '.join(presets())}) or a TOML file")
    return load_recipe(name, overrides)


def _folder(out: Path | None, films: list[Path]) -> Path:
    return out if out is not None else Path("runs") / (films[0].stem.strip("*?") or "run")


def _command() -> list[str]:
    return ["cinetune", *sys.argv[1:]]
