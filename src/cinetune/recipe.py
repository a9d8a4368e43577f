"""The recipe: one frozen object that says everything about a run.

Resolved once (defaults, then a TOML file or a preset's name, then `section.field=value`), validated, hashed to
an id and saved in the run folder. After that nothing reads a global or a machine-dependent default.
"""

import difflib
import hashlib
import json
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cinetune.errors import RecipeError


class Section(BaseModel):
    """Frozen, and strict about names: a misspelt field is an error, not a no-op."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Footage(Section):
    """How films become clips."""

    frames: int = Field(33, ge=5, le=161)
    """Frames of one clip; 4n + 1, because the video VAE packs four frames into one latent."""
    height: int = Field(480, ge=32, le=2160)
    """Pixels; a multiple of 16 (VAE factor 8 times patch 2). Footage is scaled to cover, then centre-cropped."""
    width: int = Field(832, ge=32, le=3840)
    """Pixels; a multiple of 16."""
    fps: float = Field(16.0, gt=0, le=120)
    """Frames per second of a clip; frames are chosen by timestamp, so speed stays real."""
    stride: float = Field(1.0, gt=0, le=4)
    """Distance of two windows of one shot, in window lengths: 1 = side by side, 0.5 = half overlapping."""
    held_out: float = Field(0.25, gt=0, lt=0.9)
    """Share of the scenes that is never trained on; half of it steers early stopping, half is the test set."""
    max_clips: int = Field(2000, ge=4)
    """At most this many windows; more are thinned evenly over the films."""
    max_test: int = Field(24, ge=2)
    """At most this many test clips, spread evenly over their scenes: each costs one video an arm."""

    @model_validator(mode="after")
    def _legal(self) -> "Footage":
        if self.frames % 4 != 1:
            raise ValueError(f"frames must be 4n + 1, such as {self.frames // 4 * 4 + 1}, got {self.frames}")
        for name in ("height", "width"):
            size = getattr(self, name)
            if size % 16:
                raise ValueError(f"{name} must be a multiple of 16, such as {size // 16 * 16}, got {size}")
        return self


class Lora(Section):
    """The adapter."""

    rank: int = Field(8, ge=1, le=1024)
    """Rank r of the update W + (alpha / r) B A (Hu et al. 2021, sec. 4.1)."""
    alpha: float = Field(16.0, gt=0)
    """Numerator of the LoRA scale alpha / r."""
    image_projections: bool = True
    """Adapt add_k_proj and add_v_proj, through which cross-attention sees the first frame, as well as q,k,v,o."""
    experts: Literal["both", "high", "low"] = "both"
    """Of a model of two networks (Wan2.2 A14B): the one for high noise, the one for low noise, or both get an adapter.
    With one of them, noise levels are drawn from its range alone."""


Beta = Annotated[float, Field(ge=0, lt=1)]


class Train(Section):
    """The optimisation."""

    steps: int = Field(4000, ge=1)
    """Optimiser updates (never micro-batches)."""
    learning_rate: float = Field(3e-5, gt=0, lt=1)
    """Peak AdamW learning rate, after warm-up."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the steps in which the learning rate rises linearly; then it falls as a cosine to zero."""
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """AdamW's averaging factors."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decoupled weight decay."""
    batch: int = Field(1, ge=1)
    """Clips of one micro-batch."""
    accumulation: int = Field(4, ge=1)
    """Micro-batches of one step; the gradient is clipped once, after the last."""
    clip_norm: float = Field(1.0, gt=0)
    """Largest norm of the whole gradient."""
    shift: float = Field(3.0, gt=0)
    """Shift s of the noise levels, sigma' = s sigma / (1 + (s - 1) sigma); 3 at 480p, 5 at 720p."""
    sigma_density: Literal["logit_normal", "uniform", "mode", "bell"] = "logit_normal"
    """Density of the noise level before the shift (Esser et al. 2024, sec. 3.1); bell is uniform, the loss weighted."""
    caption_dropout: float = Field(0.1, ge=0, le=1)
    """Share of clips trained with the empty caption."""
    image_dropout: float = Field(0.0, ge=0, le=1)
    """Share of clips trained without the first-frame condition (zero latents, zero mask, no image tokens)."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """Of the frozen base. The adapter and its optimiser state are always fp32."""
    checkpointing: bool = True
    """Recompute block activations in the backward pass instead of keeping them."""
    save_every: int = Field(100, ge=1)
    """Steps between two checkpoints from which a killed run goes on, bit for bit."""


class Validation(Section):
    """Sampling from held-out first frames, and stopping when it no longer gets better."""

    every: int = Field(200, ge=1)
    """Steps between two validations."""
    clips: int = Field(8, ge=2)
    """Held-out clips sampled each time, always the same ones with the same noise."""
    steps: int = Field(10, ge=1)
    """Sampler steps of a validation video."""
    guidance: float = Field(1.0, ge=1)
    """Classifier-free guidance of a validation video; 1 = off, half the cost."""
    patience: int = Field(3, ge=1)
    """Validations without a new best LPIPS after which training stops."""
    minimum_gain: float = Field(0.002, ge=0)
    """LPIPS must fall by more than this to count as better."""


class Generate(Section):
    """Sampling videos."""

    steps: int = Field(40, ge=1, le=1000)
    """Sampler steps (UniPC, order 2)."""
    guidance: float = Field(5.0, ge=1)
    """Classifier-free guidance; 1 = off."""
    shift: float = Field(3.0, gt=0)
    """Shift of the sampler's noise levels; 3 at 480p, 5 at 720p."""
    size_rule: Literal["asked", "published"] = "asked"
    """Of showcase shots: footage.height x footage.width, or what the published code makes of a picture of that shape,
    which can be a row of tokens less (464x832 for 480x832). Held-out clips always keep their own size."""
    negative: str = ""
    """The negative prompt."""
    shots: int = Field(3, ge=0, le=100)
    """Shots of the showcase made by `run`, each a keyframe expanded to a sequence."""
    segments: int = Field(2, ge=1, le=20)
    """Windows of one showcase shot, each starting from the last frame of the one before."""


class Evaluate(Section):
    """Metrics and their intervals."""

    metrics: tuple[str, ...] = ("lpips", "fvd", "kid", "clip_text", "clip_frames", "flicker")
    """Names in cinetune/metrics, or module:OBJECT."""
    weights: Literal["nano", "published", "random"] = "nano"
    """Backbones: the package's own miniatures (offline), the published networks (by path or hub id), or these on random
    weights, which cost the same and mean nothing."""
    level: float = Field(0.95, gt=0.5, lt=1)
    """Coverage of the intervals."""
    resamples: int = Field(2000, ge=100)
    """Bootstrap resamples and permutations."""
    interval: Literal["jackknife", "bootstrap"] = "jackknife"
    """Of set metrics (FVD, KID): clips left out in turn, or drawn with replacement and moved to the estimate."""


class Recipe(Section):
    """A whole run."""

    model: str
    """A name in cinetune/models, a folder in diffusers layout, a hub id, or module:OBJECT."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seeds data order, noise, dropout, sampling and resampling."""
    footage: Footage = Footage()
    """How films become clips."""
    lora: Lora = Lora()
    """The adapter."""
    train: Train = Train()
    """The optimisation."""
    validation: Validation = Validation()
    """Held-out sampling and early stopping."""
    generate: Generate = Generate()
    """Sampling videos."""
    evaluate: Evaluate = Evaluate()
    """Metrics and intervals."""

    @property
    def id(self) -> str:
        """First 12 hex digits of the SHA-256 of the canonical JSON."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def presets() -> tuple[str, ...]:
    """Return the names of the recipes that ship with the package."""
    folder = resources.files("cinetune") / "recipes"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


def load_recipe(source: str | Path, overrides: Mapping[str, str] | None = None) -> Recipe:
    """Read a preset by name or a TOML file by path, apply `section.field=value` overrides, validate once.

    Raises:
        RecipeError: no such preset or file, not TOML, unknown field (the nearest name is offered), wrong type,
            or value out of range.
    """
    tree = _read(source)
    for key, text in (overrides or {}).items():
        *parents, leaf = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise RecipeError(f"--set {key}: {parent} is a value, not a section")
        node[leaf] = _value(text)
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(_one_line(str(source), error)) from None


def _read(source: str | Path) -> dict[str, Any]:
    if str(source) in presets():
        text = (resources.files("cinetune") / "recipes" / f"{source}.toml").read_text(encoding="utf-8")
    else:
        path = Path(source)
        if not path.is_file():
            close = difflib.get_close_matches(str(source), presets()) or presets()
            raise RecipeError(f"{source}: no such recipe file or preset; presets: {', '.join(close)}")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise RecipeError(f"{source}: cannot read this as a text file; a recipe is TOML") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{source}: not TOML: {error}") from None


def _value(text: str) -> Any:
    """A TOML value where it is one, else the text itself: `--set model=nano` needs no quotes."""
    try:
        tree = tomllib.loads(f"v = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return tree["v"] if set(tree) == {"v"} else text


def _one_line(source: str, error: ValidationError) -> str:
    first, *rest = error.errors()
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        what = f"unknown key {where!r}; did you mean {_nearest(first['loc'])}?"
    elif first["type"] == "missing":
        what = f"{where!r} is missing; add it"
    else:
        what = f"{where or 'recipe'} = {first['input']!r}: {first['msg'].removeprefix('Value error, ')}"
        if first["type"] == "value_error":
            what = f"{where}: {first['msg'].removeprefix('Value error, ')}"
    more = f" (and {len(rest)} more)" if rest else ""
    return f"{source}: {what}{more}"


def _nearest(loc: tuple[int | str, ...]) -> str:
    """The known key most like the unknown one, in the same section first, then anywhere."""
    everywhere = [
        f"{section}.{name}"
        for section, field in Recipe.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        for name in field.annotation.model_fields
    ] + list(Recipe.model_fields)
    wanted = ".".join(str(part) for part in loc)
    section, _, leaf = wanted.rpartition(".")
    here = [k for k in everywhere if k.rpartition(".")[0] == section]
    elsewhere = [k for k in everywhere if k.rpartition(".")[2] == leaf]
    close = difflib.get_close_matches(wanted, here, n=1, cutoff=0.75) or elsewhere
    close = close or difflib.get_close_matches(wanted, everywhere, n=1) or [", ".join(here[:12])]
    return " or ".join(close)
