"""A model card for an adapter: what it is, how to use it, how it was made, and what was measured."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cinetune import console, plugins
from cinetune.adapters.form import Adapter
from cinetune.adapters.reading import EXPERT_ENDS, find_all, read_adapter
from cinetune.adapters.style import STYLE_FILE, Style, find_style, write_style
from cinetune.adapters.targets import name_of
from cinetune.adapters.writing import write_adapter
from cinetune.errors import RecordError, RunError, WeightsError
from cinetune.files import write_aside, write_text
from cinetune.recipe import Recipe
from cinetune.records import Clip, Result, Sample, read_records
from cinetune.runs import load_run

MARK = "<!-- written by cinetune adapter card -->"
"""What tells a card of ours from a README that a person wrote."""
DIFFUSERS_FILE, COMFY_FILE = "pytorch_lora_weights.safetensors", "comfyui_lora.safetensors"
TAGS = ("lora", "wan", "image-to-video", "diffusers", "comfyui")
ARMS = {"base": "base", "tuned": "with the adapter", "static": "first frame held still"}


@dataclass(frozen=True)
class _Told:
    """What a run folder says about its adapter."""

    recipe: Recipe
    training: dict[str, Any]
    clips: list[Clip]
    results: list[Result]
    pictures: list[tuple[str, str]]
    """File name in generate/keyframes and the prompt it was made from."""


def write_card(
    source: Path, out: Path, *, base: str | None = None, licence: str = "apache-2.0", style: Style | None = None
) -> Path:
    """Write a folder for the hub: README.md, the adapter for diffusers and for ComfyUI, pictures of a run.

    Args:
        source: a run folder with a trained adapter, or an adapter file.
        base: hub id of the base model; None takes it from the run's recipe where that names one.
        licence: of the adapter, as the hub spells it.
        style: with the grades of the training clips (`generate.training.measured`); None takes what can be known
            without looking at them: the words.

    Raises:
        WeightsError: no adapter, or one that cannot be read.
        RunError, RecordError: the run is damaged, or `out` has files of somebody else.
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not _ours(out / "README.md"))):
        raise RunError(f"{out}: is there already and is no card of cinetune's; choose another folder")
    adapters = {expert: read_adapter(file) for expert, file in find_all(source).items()}
    told = _read_run(source) if (source / "recipe.json").is_file() else None
    style = style or find_style(source)
    base = base or (_hub_id(told.recipe.model) if told else None)
    for expert, adapter in adapters.items():
        write_adapter(out / _for_expert(DIFFUSERS_FILE, expert), adapter, "diffusers")
        if not adapter.dora:
            write_adapter(out / _for_expert(COMFY_FILE, expert), adapter, "wan")
    for name, _ in told.pictures if told else []:
        with write_aside(out / "images" / name) as aside:
            shutil.copyfile(source / "generate" / "keyframes" / name, aside)
    if style.source:
        write_style(out / STYLE_FILE, style, base)
    title = _title(source)
    sections = [
        _front_matter(base, licence, told, style),
        MARK,
        f"# {title}",
        *_about(adapters, base, style),
        *_usage(adapters, base),
    ]
    if told:
        sections += [*_data(told), *_recipe(told), *_scores(told), *_pictures(told)]
    write_text(out / "README.md", "\n\n".join(sections) + "\n")
    console.done(f"card: {out / 'README.md'} and {sum(f.is_file() for f in out.rglob('*')) - 1} files beside it")
    return out / "README.md"


def push(folder: Path, name: str) -> str:
    """Upload a card's folder to the hub as `name` (OWNER/NAME) and return its address.

    Raises:
        WeightsError: not a hub id, no network, or the hub refused it.
    """
    if not _is_hub_id(name):
        raise WeightsError(f"--push {name}: give OWNER/NAME")
    from huggingface_hub import HfApi

    try:  # huggingface_hub raises a different class for each way in which an upload can fail
        api = HfApi()
        address = str(api.create_repo(name, exist_ok=True))
        api.upload_folder(repo_id=name, folder_path=folder)
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "")
        raise WeightsError(
            f"--push {name}: not uploaded ({type(error).__name__}: {reason}); the folder {folder} is complete, "
            "run this again with a network and a hub login"
        ) from None
    console.done(f"push: {address}")
    return address


def _read_run(run: Path) -> _Told:
    """A run may be half done: what it has not measured yet is left out of the card."""
    samples, shots, keyframes = [], run / "generate" / "shots.jsonl", run / "generate" / "keyframes"
    if shots.is_file():
        samples = read_records(shots, Sample)
    clips = run / "footage" / "clips.jsonl"
    return _Told(
        recipe=load_run(run),
        training=_object(run / "train" / "summary.json"),
        clips=read_records(clips, Clip) if clips.is_file() else [],
        results=_results(run / "evaluate" / "results.json"),
        pictures=[(f"{s.id}.png", s.prompt) for s in samples if (keyframes / f"{s.id}.png").is_file()],
    )


def _object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        tree = None
    if not isinstance(tree, dict):
        raise RecordError(f"{path}: not a JSON object; delete the file and run its stage again")
    return tree


def _results(path: Path) -> list[Result]:
    try:
        return [Result(**tree) for tree in _object(path).get("results", [])]
    except TypeError as error:
        raise RecordError(f"{path}: not a list of results ({error}); run `cinetune evaluate` again") from None


def _front_matter(base: str | None, licence: str, told: _Told | None, style: Style) -> str:
    """What the hub reads. Text in double quotes as JSON has it is valid YAML."""
    lines = [f"base_model: {json.dumps(base)}", "base_model_relation: adapter"] if base else []
    lines += ["library_name: diffusers", "pipeline_tag: image-to-video", f"license: {json.dumps(licence)}", "tags:"]
    lines += [f"- {tag}" for tag in TAGS]
    if style.words:
        lines.append(f"instance_prompt: {json.dumps(', '.join(style.words), ensure_ascii=False)}")
    shown = [(name, prompt) for name, prompt in told.pictures if name.endswith("-tuned.png")] if told else []
    if shown:
        lines.append("widget:")
    for name, prompt in shown:
        lines += [f"- text: {json.dumps(prompt, ensure_ascii=False)}", "  output:", f"    url: images/{name}"]
    return "\n".join(["---", *lines, "---"])


def _about(adapters: dict[str, Adapter], base: str | None, style: Style) -> Iterator[str]:
    layers = [layer for adapter in adapters.values() for layer in adapter.layers.values()]
    ranks, alphas = sorted({layer.rank for layer in layers}), sorted({layer.alpha for layer in layers})
    unnamed = "Wan2.1 image-to-video" if "" in adapters else "a Wan2.2 of two experts"
    model = f"[{base}](https://huggingface.co/{base})" if base else unnamed
    yield f"A low-rank adapter (LoRA) for {model}."
    if style.words:
        yield f"Style words, which the captions it was trained on share: {', '.join(f'`{w}`' for w in style.words)}."
    rows = [
        ("targets", f"{name_of(n for adapter in adapters.values() for n in adapter.layers)}, {len(layers)} layers"),
        ("rank", _span(ranks)),
        ("alpha", _span(alphas)),
        ("weights", f"{sum(layer.parameters for layer in layers):,}"),
    ]
    if "" not in adapters:
        rows.insert(0, ("experts", " and ".join(f"{expert} noise" for expert in adapters)))
    yield _table(("", "value"), rows)


def _usage(adapters: dict[str, Adapter], base: str | None) -> Iterator[str]:
    dora = any(adapter.dora for adapter in adapters.values())
    files = {expert: _for_expert(DIFFUSERS_FILE if dora else COMFY_FILE, expert) for expert in adapters}
    yield "## Use"
    where = [f"`{file}` into `models/loras`" for file in files.values()]
    if dora:
        yield "A DoRA: for ComfyUI, merge it into the base first (`cinetune adapter merge`). In diffusers:"
    else:
        yield (f"In ComfyUI: put {' and '.join(where)} and load {'it' if len(where) == 1 else 'each'} with strength 1"
               + ("" if "" in files else ", each on the model of its own noise range") + ". In diffusers:")  # fmt: skip
    yield "\n".join((
        "```python",
        "import torch",
        "from diffusers import WanImageToVideoPipeline",
        "",
        f"pipeline = WanImageToVideoPipeline.from_pretrained({json.dumps(base or 'BASE')}, torch_dtype=torch.bfloat16)",
        *(
            f'pipeline.load_lora_weights("THIS_REPOSITORY", weight_name="{file}"'
            + (", load_into_transformer_2=True)" if expert == "low" else ")")
            for expert, file in files.items()
        ),
        "```",
    ))  # fmt: skip
    for expert, file in files.items() if not dora else ():
        yield (f"`{_for_expert(DIFFUSERS_FILE, expert)}` holds the same adapter with its alpha in the metadata, which "
               f"older versions of diffusers do not read; `{file}` has it folded in.")  # fmt: skip


def _for_expert(name: str, expert: str) -> str:
    return name.replace(".safetensors", EXPERT_ENDS[expert]) if expert else name


def _data(told: _Told) -> Iterator[str]:
    if not told.clips:
        return
    yield "## Data"
    first, films = told.clips[0], {clip.film for clip in told.clips}
    yield (f"Clips of {first.frames} frames, {first.width}x{first.height} at {first.fps:g} frames per second, cut from "
           f"{len(films)} film{'s' * (len(films) > 1)}; training and held-out clips share no scene.")  # fmt: skip
    rows = []
    for split in ("train", "validation", "test"):
        mine = [clip for clip in told.clips if clip.split == split]
        seconds = sum(clip.frames / clip.fps for clip in mine)
        sources = ", ".join(sorted({clip.caption_source for clip in mine}))
        rows.append((split, len(mine), len({clip.scene for clip in mine}), f"{seconds:.1f}", sources))
    yield _table(("split", "clips", "scenes", "seconds", "captions"), rows)


def _recipe(told: _Told) -> Iterator[str]:
    yield "## Training"
    recipe, training = told.recipe, told.training
    rows = [
        ("recipe", recipe.id),
        ("seed", recipe.seed),
        ("learning rate", f"{recipe.train.learning_rate:g}"),
        ("clips in a step", f"{recipe.train.batch} x {recipe.train.accumulation}"),
        ("precision of the base", recipe.train.precision),
    ]
    rows += [(key.replace("_", " "), training[key]) for key in ("steps", "best_step", "stopped") if key in training]
    yield _table(("", "value"), rows)
    tree = recipe.model_dump(mode="json")
    tree["model"] = _hub_id(recipe.model) or Path(recipe.model).name  # a path of this machine is nobody's business
    yield f"<details><summary>the whole recipe</summary>\n\n```json\n{json.dumps(tree, indent=2)}\n```\n\n</details>"


def _scores(told: _Told) -> Iterator[str]:
    if not told.results:
        return
    yield "## Measured"
    yield "On held-out clips, with the same first frames, prompts and seeds for every arm; intervals in brackets."
    metrics = dict.fromkeys(r.metric for r in told.results)
    arms = [arm for arm in ARMS if any(r.arm == arm for r in told.results)]
    rows = []
    for metric in metrics:
        mine = {r.arm: r for r in told.results if r.metric == metric}
        some = next(iter(mine.values()))
        cells = [_value(mine.get(arm)) for arm in (*arms, "tuned - base")]
        rows.append((f"{metric} ({some.better} is better)", *cells, some.n, some.backbone or "none"))
    yield _table(("metric", *(ARMS[arm] for arm in arms), "difference", "clips", "backbone"), rows)
    reasons = list(dict.fromkeys(r.reason for r in told.results if r.reason))
    if reasons:
        yield "Not computed or to keep in mind: " + "; ".join(reasons) + "."
    if any("nano" in r.backbone for r in told.results):
        yield "Numbers through nano backbones, cinetune's own miniatures, cannot be compared with published ones."


def _pictures(told: _Told) -> Iterator[str]:
    if not told.pictures:
        return
    yield "## Keyframes"
    rows = [(f"![{name}](images/{name})", prompt) for name, prompt in told.pictures]
    yield _table(("keyframe, base or tuned by its name", "prompt"), rows)


def _value(result: Result | None) -> str:
    if result is None or result.estimate is None:
        return "not computed"
    text = f"{result.estimate:.4g}"
    return text if result.low is None or result.high is None else f"{text} [{result.low:.4g}, {result.high:.4g}]"


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    cells = [[" ".join(str(cell).split()).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _title(source: Path) -> str:
    path = source.resolve()
    return path.name if path.is_dir() else path.stem


def _hub_id(model: str) -> str | None:
    """The hub id behind a recipe's model; None for the embedded miniature and for a folder of this machine."""
    if model in plugins.names("models"):
        model = plugins.load("models", model).source
    return model if _is_hub_id(model) and not Path(model).exists() else None


def _is_hub_id(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~")) and not name.endswith("/")


def _span(values: list[Any]) -> str:
    return f"{values[0]:g}" if len(values) == 1 else f"{values[0]:g} to {values[-1]:g}"


def _ours(readme: Path) -> bool:
    return readme.is_file() and MARK in readme.read_text(encoding="utf-8")
