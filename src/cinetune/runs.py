"""The run folder: one recipe carried out on some films. Opening it again goes on with it.

run/recipe.json, environment.json, films.json, then one folder for each stage: footage/, train/, generate/,
evaluate/, report/.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from pydantic import ValidationError

from cinetune.devices import rank
from cinetune.errors import RunError
from cinetune.files import sha256, sweep, write_text
from cinetune.recipe import Recipe

PACKAGES = ("cinetune", "torch", "diffusers", "transformers", "peft", "numpy", "scipy", "av", "scenedetect-headless")


def open_run(run: Path, recipe: Recipe, films: list[Path], *, device: str, command: list[str]) -> Path:
    """Make a run folder, or open it again, and tidy up after a process that was killed in it.

    Raises:
        RunError: it cannot be written, it belongs to another recipe or to other films.
    """
    if run.exists() and not run.is_dir():
        raise RunError(f"{run}: is a file; give a folder for the run")
    if (run / "recipe.json").is_file():
        own = load_run(run)
        if own.id != recipe.id:
            raise RunError(
                f"{run}: belongs to recipe {own.id}, this is recipe {recipe.id}{_difference(own, recipe)}; "
                "choose another --out, or the same recipe"
            )
        before = json.loads((run / "films.json").read_text(encoding="utf-8"))
        if before != _films(films):
            raise RunError(f"{run}: was started with other films ({', '.join(before)}); choose another --out")
        sweep(run)
        return run
    if run.is_dir() and any(run.iterdir()):
        raise RunError(f"{run}: not empty and not a run; choose another --out")
    write_text(run / "films.json", json.dumps(_films(films), indent=2) + "\n")
    environment = json.dumps(describe_environment(device, command), indent=2)
    write_text(run / "environment.json", environment + "\n")
    tree = {"id": recipe.id, **recipe.model_dump(mode="json")}
    write_text(run / "recipe.json", json.dumps(tree, indent=2) + "\n")  # last: its presence makes this a run
    return run


def load_run(run: Path) -> Recipe:
    """Return the recipe of a run folder.

    Raises:
        RunError: not a run folder, or its recipe was edited or written by another version.
    """
    path = run / "recipe.json"
    if not path.is_file():
        raise RunError(f"{run}: not a run folder (no recipe.json); start one with `cinetune run` or `cinetune prepare`")
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        wanted = tree.pop("id")
        recipe = Recipe.model_validate(tree)
    except (ValueError, KeyError, AttributeError, ValidationError) as error:
        raise RunError(f"{path}: cannot be read as a recipe of this version: {str(error).splitlines()[0]}") from None
    if recipe.id != wanted:
        raise RunError(f"{path}: its content does not fit its id {wanted}; it was edited or written by another version")
    return recipe


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Keep a second process out of a run while this one works in it.

    The lock names the process; one that is no longer alive does not lock. Of several processes started together by
    torchrun, the first holds it.

    Raises:
        RunError: another living process works in the run.
    """
    if rank():
        yield
        return
    path = run / ".lock"
    try:
        owner = int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        owner = 0
    if owner and owner != os.getpid() and _alive(owner):
        raise RunError(f"{run}: process {owner} is working here; wait for it, or end it")
    write_text(path, str(os.getpid()))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def describe_environment(device: str, command: list[str]) -> dict[str, str]:
    """Return what one needs to know to repeat a run: versions, processor, git commit, command line."""
    described = {"command": " ".join(command), "device": device, "python": platform.python_version()}
    described["system"] = f"{platform.system()} {platform.machine()}"
    for package in PACKAGES:
        try:
            described[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            described[package] = "not installed"
    described["git"] = _commit()
    return described


def _alive(process: int) -> bool:
    if sys.platform == "win32":  # there os.kill(pid, 0) would end the process
        listing = subprocess.run(["tasklist", "/FI", f"PID eq {process}"], capture_output=True, text=True, check=False)
        return str(process) in listing.stdout
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _films(films: list[Path]) -> dict[str, str]:
    return {film.name: sha256(film) for film in films}


def _difference(own: Recipe, other: Recipe) -> str:
    """Name the first field in which two recipes differ."""
    a, b = own.model_dump(mode="json"), other.model_dump(mode="json")
    for section, value in a.items():
        if value == b[section]:
            continue
        if not isinstance(value, dict):
            return f" ({section} is {value!r} there, {b[section]!r} here)"
        key = next(k for k in value if value[k] != b[section][k])
        return f" ({section}.{key} is {value[key]!r} there, {b[section][key]!r} here)"
    return ""


def _commit() -> str:
    """Return the commit of the source tree, or "installed package"."""
    here = Path(__file__).resolve().parent
    if not (here.parents[1] / ".git").exists():
        return "installed package"
    command = ["git", "-C", str(here), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
