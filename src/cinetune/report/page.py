"""One page from a run: reads a run folder, writes `report/` with index.html and media/, needs no server."""

import itertools
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cinetune.files import folder_aside, write_text
from cinetune.report.comparison import compare
from cinetune.report.evaluation_cards import cards
from cinetune.report.media import MediaFolder
from cinetune.report.numerals import decimals, fixed, interval, label, percent
from cinetune.report.plots import levels_svg, loss_svg, metric_svg, sigma_svg
from cinetune.report.run_files import RunFiles, read_run
from cinetune.report.table import dots, tabulate
from cinetune.report.takes import held_out_takes, showcase_takes, training_strips
from cinetune.report.verdict import caveats, claim, evidence

OPEN_ROWS = 6
"""Held-out clips that stand on the page before anybody asks for all."""

Progress = Callable[[int, int, str], None]
"""Called with rows of videos done, rows in all, and the name of the one just done."""


def build_report(run: Path, *, progress: Progress | None = None) -> Path:
    """Write `run`/report and return the path of its index.html. The same run gives the same bytes.

    Raises:
        RunError: not a run folder, a stage is missing, or the folder cannot be written.
        RecordError: a record file is damaged.
        FootageError: a video named by a record cannot be read.
    """
    files = read_run(run)
    with folder_aside(run / "report") as folder:
        write_text(folder / "index.html", render(files, MediaFolder(folder), progress))
    return run / "report" / "index.html"


def render(run: RunFiles, media: MediaFolder, progress: Progress | None = None) -> str:
    """Write the media of the page and return its HTML."""
    comparison = compare(run.samples, run.scores, run.results, OPEN_ROWS)
    total = len(comparison.rows) + len({s.source for s in run.showcase})
    counted = itertools.count(1)

    def step(name: str) -> None:
        if progress:
            progress(next(counted), total, name)

    takes = held_out_takes(run, comparison, media, step)
    showcase = showcase_takes(run, media, step)
    films = {shot.film: shot.film_sha256 for shot in run.shots}
    return (
        templates()
        .get_template("page.html")
        .render(
            run=run,
            facts=facts(run),
            films=films,
            claim=claim(run.results),
            evidence=evidence(run.results),
            caveats=caveats(run.results),
            comparison=comparison,
            takes=takes,
            dots=dots(comparison),
            showcase=showcase,
            table=tabulate(run.results),
            cards=cards(run.results),
            level=percent(run.results[0].level) if run.results else "",
            training_strips=training_strips(run, media),
            training=training_words(run),
            loss_svg=loss_svg(run),
            metric_svg=metric_svg(run),
            levels_svg=levels_svg(run),
            decides=label(run.validations[0].metric if run.validations else "lpips"),
            sigma_svg=sigma_svg(run),
            recipe_toml=toml(run.recipe),
            command=run.environment.get("command", ""),
            again=again(list(films)),
        )
    )


def templates() -> Environment:
    """Return what pages are made with: everything escaped, an unknown name is an error."""
    environment = Environment(
        loader=PackageLoader("cinetune.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["typeset"] = typeset
    environment.filters["anchor"] = anchor
    return environment


def facts(run: RunFiles) -> dict[str, str]:
    """Return what was run, as the few lines of a lab slip."""
    recipe, training = run.recipe, run.training
    films = list(dict.fromkeys(c.film for c in run.clips))
    splits = [
        f"{sum(c.split == split for c in run.clips)} {name}"
        for split, name in (("train", "training"), ("validation", "validation"), ("test", "held-out test"))
    ]
    size = recipe["footage"]
    sampler = recipe["generate"]
    return {
        "Film": films[0] if len(films) == 1 else f"{len(films)} films, {len(run.shots)} shots",
        "Clips": ", ".join(splits),
        "Window": f"{size['frames']} frames, {size['width']} x {size['height']}, {size['fps']:g} fps",
        "Model": str(recipe["model"]),
        "Adapter": f"rank {training['rank']}, alpha {training['alpha']:g}, {training['parameters']:,} parameters",
        "Training": f"{training['steps']} steps, best at step {training['best_step']}",
        "Sampler": f"{sampler['steps']} steps, guidance {sampler['guidance']:g}, shift {sampler['shift']:g}",
        "Seed": str(recipe["seed"]),
    }


def training_words(run: RunFiles) -> str:
    """Return how training ended and which adapter the page shows."""
    training, most = run.training, run.recipe["train"]["steps"]
    used = f"The adapter of step {training['best_step']} made everything on this page."
    if not run.validations:
        return (
            f"Training ran {training['steps']} of at most {most} steps. No validation was carried out: how far the"
            f" tuned model stood from held-out film during training is not known. {used}"
        )
    told = f"Training ran all {training['steps']} steps; early stopping had no reason to end it."
    if training["stopped"] == "plateau":
        rule, metric = run.recipe["validation"], label(run.validations[0].metric)
        told = (
            f"Training stopped at step {training['steps']} of at most {most}, after {rule['patience']} validations"
            f" without a clear gain in held-out {metric}, more than {rule['minimum_gain']:g} and more than noise."
        )
    return " ".join([told, *worth(run), used])


def worth(run: RunFiles) -> list[str]:
    """Return what training was worth on the validation clips, and whether it learnt by heart; nothing where unknown."""
    sentences, found = [], run.training.get("verdict")
    if found and found["difference"] is not None:
        digits = 4 if found["low"] is None else decimals(found["low"], found["high"])
        ends = "" if found["low"] is None else f", {percent(found['level'])} interval "
        ends += "" if found["low"] is None else interval(found["low"], found["high"], digits)
        word = "a gain" if found["gain"] else "no gain"
        sentences.append(
            f"On the {found['clips']} validation clips that is {word} over the base: {label(found['metric'])} "
            f"{fixed(found['difference'], digits)}{ends}."
        )
    said = next((v for v in reversed(run.validations) if v.memorising), None)
    if said:
        sentences.append(f"At step {said.step} it was {said.memorising}.")
    return sentences


def again(films: list[str]) -> str:
    """Return the command that repeats a run from its films and the recipe on the page."""
    return f"cinetune run {shlex.join(films)} --recipe recipe.toml --out again"


def toml(recipe: dict[str, Any]) -> str:
    """Return a recipe as a TOML file that resolves to the same recipe."""
    plain = {k: v for k, v in recipe.items() if not isinstance(v, dict) and k != "id"}
    lines = [f"{key} = {_toml_value(value)}" for key, value in plain.items()]
    for section, fields in recipe.items():
        if isinstance(fields, dict):
            lines += ["", f"[{section}]", *(f"{key} = {_toml_value(value)}" for key, value in fields.items())]
    return "\n".join(lines)


def _toml_value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)  # strings, numbers, booleans and lists look the same in both


def typeset(text: str) -> str:
    """Return text with true arrows, minus and multiplication signs and narrow spaces for typewriter ones."""
    text = text.replace("->", "→").replace(" x ", " \u00d7 ").replace(" %", "\u202f%")
    return re.sub(r"(?<![\w-])-(?=\d)", "\u2212", text)


def anchor(name: str) -> str:
    """Return a name as the id of an element: letters, digits and hyphens."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", name).strip("-")
