"""The recipe: resolved once, strict about names and ranges, and the same id for the same contents."""

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from pydantic import ValidationError

from cinetune.errors import RecipeError
from cinetune.recipe import Recipe, Section, Size, load_recipe, presets


def write(folder: Path, text: str) -> Path:
    path = folder / "r.toml"
    path.write_text(text, encoding="utf-8")
    return path


def fields(model: type[Section], prefix: str = "") -> Iterator[tuple[str, str | None]]:
    """Every field with its description, sections included."""
    for name, field in model.model_fields.items():
        yield prefix + name, field.description
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from fields(field.annotation, f"{prefix}{name}.")


def preset_values(name: str) -> dict[str, object]:
    """What a preset's file itself says, keys joined by dots."""
    tree = tomllib.loads((resources.files("cinetune") / "recipes" / f"{name}.toml").read_text(encoding="utf-8"))
    flat = {}
    for key, value in tree.items():
        inner = {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
        flat.update(inner)
    return flat


def test_presets_load() -> None:
    assert presets() == ("fast-24gb", "fast-48gb", "fast-80gb", "full", "nano", "paper", "t2v")
    for name in presets():
        assert isinstance(load_recipe(name), Recipe)


def test_paper_is_the_published_recipe() -> None:
    """Source: arXiv 2510.27364 and docs/design.md (batch 1 x accumulation 4, where the paper also says 2)."""
    recipe = load_recipe("paper")
    assert (recipe.lora.rank, recipe.lora.alpha) == (8, 16)
    assert recipe.train.learning_rate == 3e-5
    assert (recipe.train.betas, recipe.train.weight_decay) == ((0.9, 0.999), 0.01)
    assert (recipe.train.steps, recipe.train.warmup) == (4000, 0.05)
    assert (recipe.train.batch, recipe.train.accumulation) == (1, 4)
    assert (recipe.train.precision, recipe.train.checkpointing) == ("bf16", True)
    assert recipe.footage.frames == 33


def test_fast_is_one_recipe_on_three_cards() -> None:
    """What comes of it does not depend on the card, so the id does not either; how it is done does."""
    fast = [load_recipe(name) for name in ("fast-24gb", "fast-48gb", "fast-80gb")]
    assert len({recipe.id for recipe in fast}) == 1
    assert [recipe.system.offload_blocks for recipe in fast] == [36, 12, 0]


@pytest.mark.parametrize("name", presets())
def test_presets_agree_with_themselves(name: str) -> None:
    """The same id again, through a file as well, and a size for every bucket."""
    recipe = load_recipe(name)
    assert recipe.id == load_recipe(name).id == Recipe.model_validate_json(recipe.model_dump_json()).id
    assert len(recipe.footage.sizes) == 1 + len(recipe.footage.buckets)


def test_sizes_are_the_own_one_and_the_buckets() -> None:
    footage = load_recipe("nano", {"footage.buckets": '["33x64x96", "1x96x64"]'}).footage
    assert footage.sizes == (Size(17, 64, 96), Size(33, 64, 96), Size(1, 96, 64))
    assert [str(size) for size in footage.sizes] == ["17x64x96", "33x64x96", "1x96x64"]
    assert footage.at(footage.sizes[2]).sizes == (Size(1, 96, 64),)
    assert footage.at(footage.sizes[2]).fps == footage.fps


def test_paper_says_what_the_defaults_are() -> None:
    """The file writes the defaults out; all that differs from them is the kind of metric weights."""
    defaults = Recipe(model="wan").model_dump(mode="json")
    for key, value in preset_values("paper").items():
        section, _, name = key.rpartition(".")
        default = defaults[section][name] if section else defaults[name]
        assert value == default or key == "evaluate.weights", key


def test_three_layers(tmp_path: Path) -> None:
    path = write(tmp_path, 'model = "nano"\n[train]\nsteps = 5\nbatch = 3\n')
    recipe = load_recipe(path, {"train.learning_rate": "1e-3", "train.batch": "7"})
    assert (recipe.train.batch, recipe.train.steps, recipe.train.learning_rate) == (7, 5, 1e-3)
    assert recipe.lora == Recipe(model="nano").lora


def test_overrides_read_as_toml_or_as_text() -> None:
    overrides = {
        "model": "Some-Org/Some-Model-480P",
        "lora.image_projections": "false",
        "train.betas": "[0.8, 0.9]",
    }
    recipe = load_recipe("nano", {**overrides, "evaluate.metrics": '["lpips"]', "generate.negative": "blurred"})
    assert recipe.model == "Some-Org/Some-Model-480P"
    assert (recipe.lora.image_projections, recipe.train.betas) == (False, (0.8, 0.9))
    assert (recipe.evaluate.metrics, recipe.generate.negative) == (("lpips",), "blurred")


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("train.lerning_rate", "train.learning_rate"),
        ("lora.rnak", "lora.rank"),
        ("trian.steps", "train"),
        ("rank", "lora.rank"),  # right name, no section
        ("train.guidance", "generate.guidance"),  # right name, wrong section
    ],
)
def test_unknown_key_offers_the_nearest(key: str, nearest: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("nano", {key: "1"})
    assert repr(key.split(".")[0])[:-1] in str(caught.value)
    assert nearest in str(caught.value).partition("did you mean")[2]


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("footage.frames", "18", "4n + 1, such as 17"),
        ("footage.height", "70", "multiple of 16, such as 64"),
        ("footage.fps", "nan", "footage.fps"),
        ("footage.buckets", '["33x480"]', "not FRAMESxHEIGHTxWIDTH"),
        ("footage.buckets", '["32x64x96"]', "32x64x96: frames must be 4n + 1"),
        ("footage.buckets", '["33x64x100"]', "multiples of 16"),
        ("footage.buckets", '["17x64x96"]', "17x64x96 is there twice"),
        ("lora.rank", "0", "greater than or equal to 1"),
        ("train.learning_rate", "0", "greater than 0"),
        ("lora.alpha", "inf", "finite"),
        ("train.betas", "[0.9, 1.5]", "less than 1"),
        ("train.steps", "soon", "valid integer"),
        ("train.steps", "1\nx = 2", "valid integer"),
        ("train.precision", "fp16", "'fp32', 'bf16'"),
        ("train", "3", "train"),
        ("train.steps.more", "3", "steps is a value, not a section"),
        ("seed", "-1", "seed"),
    ],
)
def test_out_of_range(key: str, value: str, says: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("nano", {key: value})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[train]\nsteps = 5\n", "'model' is missing"),
        ("model = \n", "not TOML"),
        ('model = "nano"\n[train]\nsteps = 0\nbatch = 0\n', "and 1 more"),
    ],
)
def test_bad_file(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_such_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="presets: paper"):
        load_recipe("papper")
    with pytest.raises(RecipeError, match="no such recipe"):
        load_recipe(tmp_path)
    (tmp_path / "film.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="cannot read this as a text file"):
        load_recipe(tmp_path / "film.toml")


def test_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_recipe("nano").train.steps = 1  # type: ignore[misc]


def test_id_is_the_hash_of_the_contents(tmp_path: Path) -> None:
    recipe = load_recipe("nano")
    text = json.dumps(recipe.model_dump(mode="json", exclude={"system"}), sort_keys=True)
    assert recipe.id == hashlib.sha256(text.encode()).hexdigest()[:12]
    assert load_recipe("nano", {"train.steps": str(recipe.train.steps)}).id == recipe.id
    assert load_recipe("nano", {"train.steps": str(recipe.train.steps + 1)}).id != recipe.id
    assert load_recipe("nano", {"system.engine": "ddp"}).id == recipe.id, "how it is done, not what comes of it"
    one = write(tmp_path, 'seed = 3\nmodel = "nano"\n[lora]\nrank = 4\nalpha = 8\n')
    other = Recipe.model_validate({"lora": {"alpha": 8.0, "rank": 4}, "model": "nano", "seed": 3})
    assert load_recipe(one).id == other.id


def test_id_is_the_same_in_another_process() -> None:
    code = "from cinetune.recipe import load_recipe; print(load_recipe('nano').id)"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == load_recipe("nano").id


def test_survives_json() -> None:
    recipe = load_recipe("nano")
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_every_field_is_documented() -> None:
    assert [name for name, description in fields(Recipe) if not description] == []
