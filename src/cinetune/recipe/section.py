"""What all sections of a recipe have in common, and the storyboard with them: how TOML is read and refused."""

import difflib
import tomllib
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from cinetune.errors import RecipeError


class Section(BaseModel):
    """Frozen, and strict about names: a misspelt field is an error, not a no-op."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


def read_toml(path: Path, kind: str) -> dict[str, Any]:
    """Read a file; `kind` says what it should be, such as "a recipe".

    Raises:
        RecipeError: not UTF-8 text, or not TOML (with the line).
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a byte order mark first
    except (OSError, UnicodeDecodeError):
        raise RecipeError(f"{path}: cannot read this as a text file; {kind} is TOML") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not TOML: {error}") from None


def one_line(source: str, error: ValidationError, whole: type[Section], below: int = 0) -> str:
    """Return the first of the things that are wrong, and how many more there are.

    Args:
        source: the file, and where in it.
        whole: what was validated; unknown keys are answered with the nearest of its own.
        below: leading parts of the place that `source` names already.
    """
    first, *rest = error.errors()
    where = ".".join(str(part) for part in first["loc"][below:])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        key = ".".join(part for part in first["loc"] if isinstance(part, str))
        what = f"unknown key {key!r}; did you mean {_nearest(whole, key)}?"
    elif first["type"] == "missing":
        what = f"{where!r} is missing; add it"
    elif first["type"] == "value_error":
        what = (f"{where}: " if where else "") + message
    else:
        what = f"{where or whole.__name__.lower()} = {first['input']!r}: {message}"
    more = f" (and {len(rest)} more)" if rest else ""
    return f"{source}: {what}{more}"


def _nearest(whole: type[Section], wanted: str) -> str:
    """The known key most like the unknown one, in the same section first, then anywhere."""
    own = [field.alias or name for name, field in whole.model_fields.items()]
    everywhere = [
        f"{section}.{name}"
        for section, field in zip(own, whole.model_fields.values(), strict=True)
        for kind in (field.annotation, *get_args(field.annotation))
        if isinstance(kind, type) and issubclass(kind, Section)
        for name in kind.model_fields
    ] + own
    section, _, leaf = wanted.rpartition(".")
    here = [k for k in everywhere if k.rpartition(".")[0] == section]
    elsewhere = [k for k in everywhere if k.rpartition(".")[2] == leaf]
    close = difflib.get_close_matches(wanted, here, n=1, cutoff=0.75) or elsewhere
    close = close or difflib.get_close_matches(wanted, everywhere, n=1) or [", ".join(here[:12])]
    return " or ".join(close)
