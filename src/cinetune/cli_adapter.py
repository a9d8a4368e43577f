"""The commands `cinetune adapter ...`: parse and call."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from cinetune import console

app = typer.Typer(help="Adapter files: convert, inspect, merge, resize, publish.", no_args_is_help=True,
                  rich_markup_mode=None)  # fmt: skip

Source = Annotated[Path, typer.Argument(help="An adapter file of any format, its folder, or a run folder.")]
OutFile = Annotated[Path, typer.Argument(help="The .safetensors file to write.")]


@app.command()
def convert(
    source: Source,
    out: OutFile,
    to: Annotated[str, typer.Option("--to", help="wan (ComfyUI, diffusers), diffusers, or kohya.")] = "wan",
    drop: Annotated[bool, typer.Option("--drop", help="Leave out what is more than a LoRA (DoRA, biases).")] = False,
    dtype: Annotated[str | None, typer.Option("--dtype", help="fp32, fp16 or bf16; default as it is.")] = None,
    keep_alpha: Annotated[bool, typer.Option("--keep-alpha", help="For wan: .alpha keys instead of folding.")] = False,
) -> None:
    """Write an adapter in the format of another tool; the strength stays the same."""
    from cinetune.adapters.writing import convert as write

    write(source, out, to, drop=drop, dtype=dtype, keep_alpha=keep_alpha)


@app.command()
def inspect(
    source: Source,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as one JSON object, each layer too.")] = False,
) -> None:
    """Show format, ranks, alphas, targets, norms and how much of the update lower ranks would keep."""
    from cinetune.adapters import inspection

    found = inspection.inspect(source)
    if as_json:
        console.done(json.dumps(dataclasses.asdict(found), indent=2))
        return
    from rich.console import Console

    inspection.show(found, Console())


@app.command()
def merge(
    base: Annotated[Path, typer.Argument(help="A model folder in diffusers layout, or its transformer folder.")],
    source: Source,
    out: Annotated[Path, typer.Argument(help="The folder to write; the base stays as it is.")],
) -> None:
    """Copy a model with the adapter added into its weights."""
    from cinetune.adapters.merging import merge as write

    write(base, source, out)


@app.command()
def resize(
    source: Source,
    out: OutFile,
    rank: Annotated[int | None, typer.Option("--rank", min=1, help="At most this rank in every layer.")] = None,
    energy: Annotated[float | None, typer.Option("--energy", help="Per layer, the rank that keeps this share.")] = None,
    leading: Annotated[
        bool, typer.Option("--leading", help="The first ranks as they are, of an adapter of train.nested_ranks.")
    ] = False,
) -> None:
    """Cut an adapter down to a lower rank, keeping as much of its update as that rank can."""
    from rich.console import Console

    from cinetune.adapters.resize import resize as write
    from cinetune.adapters.resize import show

    show(write(source, out, rank=rank, energy=energy, leading=leading), Console())


@app.command()
def card(
    source: Source,
    out: Annotated[Path, typer.Argument(help="The folder to write: README.md, weights, pictures.")],
    base: Annotated[
        str | None, typer.Option("--base", help="Hub id of the base model, where no recipe has it.")
    ] = None,
    licence: Annotated[str, typer.Option("--licence", help="Of the adapter, as the hub spells it.")] = "apache-2.0",
    push: Annotated[str | None, typer.Option("--push", help="Upload the folder to the hub as OWNER/NAME.")] = None,
) -> None:
    """Write a folder for the hub: a model card with recipe, data and scores, and the adapter for other tools."""
    from cinetune.adapters import card as cards
    from cinetune.adapters.style import find_style
    from cinetune.generate.training import measured, views

    cards.write_card(source, out, base=base, licence=licence, style=measured(find_style(source), *views(source, None)))
    if push is not None:
        cards.push(out, push)
