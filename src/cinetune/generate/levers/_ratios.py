"""How much larger what all blocks add is than at the step before: measured for a model and a grid of noise levels."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from cinetune.errors import RecipeError
from cinetune.files import write_text

FILE = "magnitude_ratios.json"
"""In a model's folder."""


class Ratios(BaseModel):
    """Of one model, at every step. The first is 1: there is no step before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    form: Literal[1] = 1
    """Version of this record."""
    model: str
    steps: int
    shift: float
    guidance: float
    prompt: tuple[float, ...]
    negative: tuple[float, ...] | None
    """None where they were measured without guidance."""
    source: str
    """Where they were published, or the windows that they were measured on."""

    @model_validator(mode="after")
    def _check(self) -> "Ratios":
        if any(len(row) != self.steps for row in (self.prompt, self.negative) if row is not None):
            raise ValueError(f"not {self.steps} ratios")
        return self


def read_ratios(file: Path) -> Ratios:
    """Return what a file holds.

    Raises:
        RecipeError: missing or damaged.
    """
    try:
        return Ratios.model_validate_json(file.read_text(encoding="utf-8"))
    except OSError:
        raise RecipeError(f"{file}: no such file; give one that `cinetune bench ratios` wrote") from None
    except ValidationError as error:
        raise RecipeError(f"{file}: not what `cinetune bench ratios` writes ({error.errors()[0]['msg']})") from None


def write_ratios(file: Path, ratios: Ratios) -> None:
    """Write a file that `read_ratios` reads."""
    write_text(file, ratios.model_dump_json(indent=1) + "\n")


def published(source: str) -> Ratios | None:
    """Return the published ratios of a model, by its hub id or folder name, or None."""
    for part, ratios in _PUBLISHED.items():
        if part.lower() in source.lower():
            return ratios
    return None


def _published(name: str, shift: float, pairs: str) -> Ratios:
    """Take a row as it was published: prompt and negative prompt in turn, without the two ones that it begins with."""
    row = [1.0, 1.0, *map(float, pairs.split())]
    given: dict[str, Any] = {"prompt": row[0::2], "negative": row[1::2]}
    return Ratios(
        model=name, steps=40, shift=shift, guidance=5.0, **given,
        source="Zehong-Ma/MagCache MagCache4Wan2.1/magcache_generate.py (Apache-2.0), arXiv 2506.09045",
    )  # fmt: skip


_PUBLISHED = {
    ratios.model: ratios
    for ratios in (
        _published(
            "Wan2.1-I2V-14B-480P", 3.0,
            "0.98783 0.98993 0.97559 0.97593 0.98311 0.98319 0.98202 0.98225 0.9888 0.98878 0.98762 0.98759 "
            "0.98957 0.98971 0.99052 0.99043 0.99383 0.99384 0.98857 0.9886 0.99065 0.99068 0.98845 0.98847 "
            "0.99057 0.99057 0.98957 0.98961 0.98601 0.9861 0.98823 0.98823 0.98756 0.98759 0.98808 0.98814 "
            "0.98721 0.98724 0.98571 0.98572 0.98543 0.98544 0.98157 0.98165 0.98411 0.98413 0.97952 0.97953 "
            "0.98149 0.9815 0.9774 0.97742 0.97825 0.97826 0.97355 0.97361 0.97085 0.97087 0.97056 0.97055 "
            "0.96588 0.96587 0.96113 0.96124 0.9567 0.95681 0.94961 0.94969 0.93973 0.93988 0.93217 0.93224 "
            "0.91878 0.91896 0.90955 0.90954 0.92617 0.92616",
        ),
        _published(
            "Wan2.1-I2V-14B-720P", 5.0,
            "0.99428 0.99498 0.98588 0.98621 0.98273 0.98281 0.99018 0.99023 0.98911 0.98917 0.98646 0.98652 "
            "0.99454 0.99456 0.9891 0.98909 0.99124 0.99127 0.99102 0.99103 0.99215 0.99212 0.99515 0.99515 "
            "0.99576 0.99572 0.99068 0.99072 0.99097 0.99097 0.99166 0.99169 0.99041 0.99042 0.99201 0.99198 "
            "0.99101 0.99101 0.98599 0.98603 0.98845 0.98844 0.98848 0.98851 0.98862 0.98857 0.98718 0.98719 "
            "0.98497 0.98497 0.98264 0.98263 0.98389 0.98393 0.97938 0.9794 0.97535 0.97536 0.97498 0.97499 "
            "0.973 0.97301 0.96827 0.96828 0.96261 0.96263 0.95335 0.9534 0.94649 0.94655 0.93397 0.93414 "
            "0.91636 0.9165 0.89088 0.89109 0.8679 0.86768",
        ),
    )
}  # fmt: skip
