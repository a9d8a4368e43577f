"""The whole recipe, and how it is read."""

import difflib
import hashlib
import json
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from cinetune.errors import RecipeError
from cinetune.recipe.agreement import check_agreement
from cinetune.recipe.evaluate import Evaluate
from cinetune.recipe.footage import Footage
from cinetune.recipe.generate import Generate
from cinetune.recipe.lora import Lora
from cinetune.recipe.section import Section, one_line, read_toml
from cinetune.recipe.system import System
from cinetune.recipe.train import Train
from cinetune.recipe.validation import Validation


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
    system: System = System()
    """How training uses the machine; not part of the id."""

    @model_validator(mode="after")
    def _agrees(self) -> "Recipe":
        check_agreement(self.lora, self.train, self.system)
        return self

    @property
    def id(self) -> str:
        """First 12 hex digits of the SHA-256 of the canonical JSON of everything but `system`."""
        text = json.dumps(self.model_dump(mode="json", exclude={"system"}), sort_keys=True)
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
        raise RecipeError(one_line(str(source), error, Recipe)) from None


def with_system(recipe: Recipe, changes: Mapping[str, str]) -> Recipe:
    """Return the recipe with `system.field=value` changes: the same recipe, done in another way.

    Raises:
        RecipeError: a change of anything but `system`, an unknown field, or a value out of range.
    """
    tree = recipe.model_dump()
    for key, text in changes.items():
        section, _, leaf = key.partition(".")
        if section != "system" or not leaf:
            raise RecipeError(f"--set {key}: the recipe of a run stays what it was; only system.* can change")
        tree["system"][leaf] = _value(text)
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(one_line("--set", error, Recipe)) from None


def _read(source: str | Path) -> dict[str, Any]:
    if str(source) in presets():
        text = (resources.files("cinetune") / "recipes" / f"{source}.toml").read_text(encoding="utf-8")
        return tomllib.loads(text)
    if not Path(source).is_file():
        close = difflib.get_close_matches(str(source), presets()) or presets()
        raise RecipeError(f"{source}: no such recipe file or preset; presets: {', '.join(close)}")
    return read_toml(Path(source), "a recipe")


def _value(text: str) -> Any:
    """A TOML value where it is one, else the text itself: `--set model=nano` needs no quotes."""
    try:
        tree = tomllib.loads(f"v = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return tree["v"] if set(tree) == {"v"} else text
