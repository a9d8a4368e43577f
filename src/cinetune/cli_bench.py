"""The commands `cinetune bench ...`: parse and call."""

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Speed, memory, share of the machine's limit, and what speed costs in quality.",
                  no_args_is_help=True, rich_markup_mode=None)  # fmt: skip

QUICK: dict[str, Any] = {"ranks": "0,4,8", "shapes": "5x32x48", "arms": "merged,unmerged,padded", "rounds": 3,
                         "steps": 2, "levers": ":exact,merge", "windows": 2, "processes": ""}  # fmt: skip
"""Of `--quick`: seconds, to see that everything works."""
LARGE = "33x480x832,81x480x832"
"""Sizes of any model but the miniature."""


@app.callback()
def bench() -> None:
    """Speed, memory, share of the machine's limit, and what speed costs in quality."""


@app.command()
def generate(
    model: Annotated[
        str, typer.Option("--model", help="As everywhere; random:wan2.1-i2v-14b-480p needs no weights.")
    ] = "nano",
    out: Annotated[Path, typer.Option("--out", help="Folder; the same command goes on in it.")] = Path("bench"),
    block: Annotated[bool, typer.Option("--block", help="One block of random weights instead of the network.")] = False,
    whole: Annotated[bool, typer.Option("--whole", help="A whole window instead of one forward pass.")] = False,
    ranks: Annotated[str | None, typer.Option("--ranks", help="Of adapters; 0 is the base.")] = None,
    arms: Annotated[str | None, typer.Option("--arms", help="merged, unmerged, compiled, padded.")] = None,
    shapes: Annotated[str | None, typer.Option("--shapes", help="FRAMESxHEIGHTxWIDTH, with commas.")] = None,
    targets: Annotated[
        str, typer.Option("--targets", help="cross-attention, attention, all-linear, or a regular expression.")
    ] = "cross-attention",
    rounds: Annotated[int | None, typer.Option("--rounds", min=1, help="Each times every cell once.")] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Timed runs of a cell in a round.")] = 2,
    levers: Annotated[
        str | None, typer.Option("--levers", help="all, none, or names with commas; merge+compile, :fast.")
    ] = None,
    windows: Annotated[int | None, typer.Option("--windows", min=1, help="Made with each lever.")] = None,
    adapter: Annotated[Path | None, typer.Option("--adapter", help="For levers; default a random one.")] = None,
    stills: Annotated[
        Path | None,
        typer.Option("--stills", help="For levers: a folder of pictures, NAME.txt being NAME.png's prompt."),
    ] = None,
    weights: Annotated[str | None, typer.Option("--weights", help="Of metrics: nano, published or random.")] = None,
    processes: Annotated[
        str | None, typer.Option("--processes", help="Numbers that share a window, such as 1,2,4.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Of the sampler.")] = None,
    guidance: Annotated[float | None, typer.Option("--guidance", min=1, help="1 is off.")] = None,
    shift: Annotated[float, typer.Option("--shift", help="Of the noise levels; 5 at 720p.")] = 3.0,
    precision: Annotated[str | None, typer.Option("--precision", help="fp32 or bf16.")] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Of a CPU; with one, CPU time counts.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="Seconds: a small grid, to see that all works.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of orders, adapters, noise and intervals.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Latency by adapter rank and arm, and speed and quality of every lever; a table, plots, and the fitted model."""
    from cinetune.bench.generate import bench_generate
    from cinetune.bench.plan import ARMS, Plan, Size
    from cinetune.bench.quality import all_levers
    from cinetune.devices import pick_device
    from cinetune.errors import RecipeError
    from cinetune.models._resolve import find_model

    if block and whole:
        raise RecipeError("--block, --whole: one or the other")
    small, where = model == "nano", pick_device(device)
    wan = {"shapes": LARGE, "steps": 40, "guidance": 5.0, "weights": "published", "rounds": 8, "levers": "none",
           "processes": ""}  # fmt: skip
    usual = {"ranks": "0,4,8,16,32,64,128", "arms": ",".join(ARMS), "shapes": "9x48x64,17x64x96", "rounds": 16,
             "steps": 12, "guidance": 1.0, "levers": "none" if block else "all", "windows": 8, "weights": "nano",
             "processes": "" if block else "1,2", "precision": "fp32" if where.type == "cpu" else "bf16"}  # fmt: skip
    given = {"ranks": ranks, "arms": arms, "shapes": shapes, "rounds": rounds, "steps": steps, "guidance": guidance,
             "levers": levers, "windows": windows, "weights": weights, "precision": precision,
             "processes": processes}  # fmt: skip
    chosen: dict[str, Any] = usual | ({} if small else wan) | (QUICK if quick else {})
    chosen |= {name: value for name, value in given.items() if value is not None}
    named = {"all": all_levers(), "none": ()}.get(chosen["levers"]) or tuple(_listed(chosen["levers"]))
    plan = Plan(
        model=model, kind="block" if block else "whole" if whole else "forward",
        ranks=_numbers("--ranks", chosen["ranks"]), arms=tuple(_listed(chosen["arms"])),
        sizes=tuple(Size.parse(text) for text in _listed(chosen["shapes"])), targets=targets,
        precision=chosen["precision"], rounds=chosen["rounds"], repeats=repeats, steps=chosen["steps"],
        guidance=chosen["guidance"], shift=shift, levers=() if chosen["levers"] == "none" else named,
        windows=chosen["windows"], weights=chosen["weights"], processes=_numbers("--processes", chosen["processes"]),
        threads=threads, seed=seed,
    )  # fmt: skip
    bench_generate(plan, find_model(model), out, device=where, adapter=adapter, stills=stills)


@app.command()
def ratios(
    out: Annotated[Path, typer.Option("--out", help="The file to write.")],
    model: Annotated[str, typer.Option("--model", help="As everywhere.")] = "nano",
    shape: Annotated[
        str | None, typer.Option("--shape", help="FRAMESxHEIGHTxWIDTH; default the model's usual.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Of the sampler.")] = None,
    guidance: Annotated[float | None, typer.Option("--guidance", min=1, help="1 is off.")] = None,
    shift: Annotated[float | None, typer.Option("--shift", help="Of the noise levels.")] = None,
    windows: Annotated[int, typer.Option("--windows", min=1, help="To measure on.")] = 8,
    adapter: Annotated[Path | None, typer.Option("--adapter", help="That will be used with them.")] = None,
    stills: Annotated[
        Path | None, typer.Option("--stills", help="A folder of pictures, NAME.txt being NAME.png's prompt.")
    ] = None,
    precision: Annotated[str, typer.Option("--precision", help="auto, fp32 or bf16.")] = "auto",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the noise.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Measure the ratios by which the lever magnitude decides, for a number of steps and a shift of one's own."""
    from cinetune.bench.plan import Size
    from cinetune.bench.ratios import measure_ratios
    from cinetune.devices import pick_device
    from cinetune.generate.window import Sampling
    from cinetune.generate.wishes import PRECISIONS, precision_of
    from cinetune.models._resolve import find_model

    found, where = find_model(model), pick_device(device)
    usual = found.usual
    size = Size.parse(shape) if shape else Size(usual.frames, usual.height, usual.width)
    sampling = Sampling(
        steps or usual.steps, usual.guidance if guidance is None else guidance,
        usual.shift_at(size.height, size.width) if shift is None else shift,
    )  # fmt: skip
    dtype = PRECISIONS[precision_of(precision, where)]
    measure_ratios(
        found, out, size, sampling, windows=windows, seed=seed, adapter=adapter, stills=stills, device=where,
        dtype=dtype,
    )  # fmt: skip


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(option: str, text: str) -> tuple[int, ...]:
    from cinetune.errors import RecipeError

    parts = _listed(text)
    if not all(part.isdecimal() for part in parts):
        raise RecipeError(f"{option} {text}: write whole numbers with commas between them")
    return tuple(map(int, parts))
