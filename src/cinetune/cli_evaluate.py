"""The command `cinetune evaluate`: parse and call."""

import difflib
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from cinetune import console
from cinetune.errors import MetricError

LEFT_OUT = 3
"""Exit code of an evaluation that finished, but left videos out because of what they are."""

Paths = list[Path] | None


def evaluate(
    generated: Annotated[
        Paths, typer.Argument(help="A run folder; or videos, folders, patterns, JSONL manifests.")
    ] = None,
    arm: Annotated[list[str] | None, typer.Option("--arm", help="NAME=PATH: one of several; may be repeated.")] = None,
    reference: Annotated[Paths, typer.Option("--reference", help="Real videos, in any form; may be repeated.")] = None,
    statistics: Annotated[
        list[str] | None,
        typer.Option("--statistics", help="METRIC=FILE: mean and covariance for the real videos; may be repeated."),
    ] = None,
    write_statistics: Annotated[
        Path | None,
        typer.Option("--write-statistics", help="Folder for mean and covariance of REAL, or else of GENERATED."),
    ] = None,
    training: Annotated[
        Paths, typer.Option("--training", help="What the model was trained on: clips, or a run folder.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", help="Captions by name: lines with a tab, or JSON.")
    ] = None,
    metrics: Annotated[str | None, typer.Option("--metrics", help="Names separated by commas.")] = None,
    weights: Annotated[
        Literal["nano", "published", "random"] | None,
        typer.Option("--weights", help="Of the networks; default nano. random is for timing."),
    ] = None,
    precision: Annotated[
        Literal["fp32", "bf16"] | None,
        typer.Option("--precision", help="Of the networks; default fp32. bf16 is faster, and no paper's number."),
    ] = None,
    backbone: Annotated[
        list[str] | None, typer.Option("--backbone", help="NAME=PATH of published weights; may be repeated.")
    ] = None,
    static: Annotated[
        bool | None, typer.Option("--static/--no-static", help="Score the held first frame beside; default yes.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where results go; default evaluation/.")] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Stored features; default the user's cache folder.")
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Videos looked at side by side.")] = None,
    level: Annotated[float | None, typer.Option("--level", help="Coverage of the intervals; default 0.95.")] = None,
    resamples: Annotated[int | None, typer.Option("--resamples", help="Of bootstrap and tests; default 2000.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Of the resampling; default 0.")] = None,
    plan: Annotated[
        float | None, typer.Option("--plan", help="Also say how many videos would show a difference of this.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Measure a run, or any generated videos against real ones: every metric with its interval."""
    given = {
        "--prompts": prompts, "--metrics": metrics, "--weights": weights, "--precision": precision,
        "--backbone": backbone, "--static": static, "--training": training, "--out": out, "--cache": cache,
        "--workers": workers, "--level": level, "--resamples": resamples, "--seed": seed,
    }  # fmt: skip
    videos = reference or arm or statistics or write_statistics
    if not videos and generated and len(generated) == 1 and generated[0].is_dir():
        _run(generated[0], [name for name, value in given.items() if value is not None], plan, device)
        return
    settings = {"level": level, "resamples": resamples, "weights": weights, "precision": precision}
    _videos(
        {**({"generated": generated} if generated else {}), **_pairs("--arm", arm)},
        reference or [],
        statistics=_single("--statistics", statistics, "metric"),
        write_statistics=write_statistics,
        training=training or [],
        prompts=prompts,
        metrics=_names(metrics),
        settings={name: value for name, value in settings.items() if value is not None},
        backbones=_backbones(backbone, weights),
        static=static is not False,
        out=out or Path("evaluation"),
        cache=cache,
        workers=workers,
        seed=seed or 0,
        plan=plan,
        device=device,
    )


def _run(run: Path, ignored: Sequence[str], plan: float | None, device: str) -> None:
    """Measure a run folder, whose recipe says everything."""
    from rich.console import Console

    from cinetune import run as stages
    from cinetune.devices import pick_device
    from cinetune.evaluate import ranks
    from cinetune.evaluate.table import print_table
    from cinetune.runs import locked

    if not (run / "recipe.json").is_file():
        raise MetricError(f"{run}: no recipe.json, so not a run; to measure a folder of videos, give --reference REAL")
    if ignored:
        raise MetricError(f"{ignored[0]}: a run is measured as its recipe says; change the recipe, or give --reference")
    recipe, _ = stages.reopen(run)
    first = ranks.rank() == 0
    with locked(run) if first else nullcontext():
        results = stages.evaluate_stage(run, recipe, ranks.own_device(pick_device(device)))
    if first:
        print_table(results, Console())
        _plan(run / "evaluate", plan)


def _videos(
    arms: Mapping[str, Sequence[Path]],
    reference: Sequence[Path],
    *,
    statistics: Mapping[str, Path],
    write_statistics: Path | None,
    training: Sequence[Path],
    prompts: Path | None,
    metrics: Sequence[str] | None,
    settings: Mapping[str, object],
    backbones: Mapping[str, Path],
    static: bool,
    out: Path,
    cache: Path | None,
    workers: int | None,
    seed: int,
    plan: float | None,
    device: str,
) -> None:
    """Measure videos that belong to no run."""
    from pydantic import ValidationError
    from rich.console import Console

    from cinetune.devices import describe, pick_device
    from cinetune.evaluate import moments, ranks
    from cinetune.evaluate.estimates import REAL
    from cinetune.evaluate.evaluator import measure
    from cinetune.evaluate.inputs import assemble
    from cinetune.evaluate.prompts import read_prompts
    from cinetune.evaluate.table import print_table
    from cinetune.files import user_cache
    from cinetune.recipe import Evaluate
    from cinetune.report.evaluation import build_page
    from cinetune.run import counting
    from cinetune.runs import describe_environment

    try:
        section = Evaluate.model_validate(settings)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise MetricError(f"--{wrong['loc'][0]} {wrong['input']}: {wrong['msg']}") from None
    known = read_prompts(prompts) if prompts else {}
    arms, stated = moments.gathered(statistics, arms)
    videos = assemble(arms, reference, training=training, prompts=known, static=static, empty=bool(stated.arms))
    real = any(video.arm == REAL for video in videos)
    section = section.model_copy(update={"metrics": moments.chosen(metrics, section.metrics, stated.real, real=real)})
    first, where = ranks.rank() == 0, ranks.own_device(pick_device(device))
    with counting("evaluate") if first else nullcontext() as counted:
        done = measure(
            videos, section, seed=seed, out=out, cache=cache or user_cache() / "features", published=backbones,
            device=where, workers=workers, progress=counted, statistics=stated, write_statistics=write_statistics,
            environment=describe_environment(describe(where), ["cinetune", *sys.argv[1:]]),
        )  # fmt: skip
    if not first:
        return
    print_table(done.results, Console())
    _plan(out, plan)
    for line in [*done.broken, *done.short]:
        console.note(f"left out: {line}")
    console.note(f"evaluate: {done.told()}")
    if write_statistics:
        console.note(f"evaluate: statistics written to {write_statistics}")
    page = build_page(out)
    told = f"{len(section.metrics)} metrics of {len(done.videos)} videos in {out}; open {page}"
    if done.whole:
        console.done(f"evaluate: {told}")
        return
    console.done(f"evaluate: {told}; left out: {len(done.broken)} of everything, {len(done.short)} of some metrics")
    raise typer.Exit(LEFT_OUT)


def _plan(out: Path, difference: float | None) -> None:
    if difference is not None:
        from rich.console import Console

        from cinetune.evaluate.plan import plan, print_plan

        print_plan(plan(out, difference), Console())


def _names(metrics: str | None) -> tuple[str, ...] | None:
    return None if metrics is None else tuple(name.strip() for name in metrics.split(",") if name.strip())


def _pairs(option: str, given: Sequence[str] | None) -> dict[str, list[Path]]:
    """Read NAME=PATH, repeated; one name may have several paths."""
    found: dict[str, list[Path]] = {}
    for text in given or []:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise MetricError(f"{option} {text}: write NAME=PATH")
        found.setdefault(name, []).append(Path(path))
    return found


def _backbones(given: Sequence[str] | None, weights: str | None) -> dict[str, Path]:
    """Read the paths of published weights.

    Raises:
        MetricError: no such network, two paths for one, or `weights` is not "published".
    """
    from cinetune.metrics.backbones._resolve import ROLES

    paths = _single("--backbone", given, "network")
    known = sorted(published for _, published in ROLES.values())
    for name in paths:
        if name not in known:
            close = difflib.get_close_matches(name, known) or known
            raise MetricError(f"--backbone {name}: no such network; did you mean {', '.join(close)}?")
    if paths and weights != "published":
        raise MetricError("--backbone: paths are of published weights; add --weights published")
    return paths


def _single(option: str, given: Sequence[str] | None, what: str) -> dict[str, Path]:
    """Read NAME=PATH, repeated, with one path for each name."""
    found = _pairs(option, given)
    for name, several in found.items():
        if len(several) > 1:
            raise MetricError(f"{option} {name}: two paths for one {what}; give one")
    return {name: several[0] for name, several in found.items()}
