"""Every module imports with the core dependencies alone, quietly, and in a spawned process too."""

import ast
import json
import multiprocessing
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from cinetune import plugins

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
SRC = ROOT / "src" / "cinetune"
FILES = sorted(SRC.rglob("*.py"))


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")


def distributions(requirements: Iterable[str]) -> set[str]:
    """The normalised names in lines such as `torch>=2.6`."""
    return {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in requirements}  # type: ignore[index]


CORE = distributions(PROJECT["dependencies"])
EXTRAS = {
    name
    for extra, lines in PROJECT["optional-dependencies"].items()
    if extra not in ("dev", "docs")
    for name in distributions(lines)
}
OWNERS = packages_distributions()


def outside(nodes: list[ast.AST], allowed: set[str]) -> set[str]:
    """The top-level names imported by `nodes` that belong to none of the `allowed` distributions."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).split(".")[0])
    names -= set(sys.stdlib_module_names) | {"cinetune"}
    return {n for n in names if not allowed & {owner.lower().replace("_", "-") for owner in OWNERS.get(n, [])}}


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_imports_are_declared(file: Path) -> None:
    """On loading: core dependencies and the standard library. Inside functions: the extras as well."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(n) for function in functions for n in ast.walk(function)}
    on_loading = [n for n in ast.walk(tree) if id(n) not in inside]
    assert not outside(on_loading, CORE), "not in [project] dependencies"
    assert not outside(list(ast.walk(tree)), CORE | EXTRAS), "neither a dependency nor in an extra"


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_no_statement_works_on_loading(file: Path) -> None:
    """Definitions, constants and docstrings only: a spawned worker loads the modules again."""
    kinds = (
        ast.Import,
        ast.ImportFrom,
        ast.FunctionDef,
        ast.AsyncFunctionDef,
        ast.ClassDef,
        ast.Assign,
        ast.AnnAssign,
    )
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        guarded = isinstance(node, ast.If) and "__name__" in ast.dump(node.test)
        typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        joining = isinstance(node, ast.Expr) and ast.unparse(node).startswith(("app.add_typer(", "app.command("))
        silenced = isinstance(node, ast.With) and ast.unparse(node.items[0]) == "quiet()"  # a library that talks
        silenced = silenced and all(isinstance(n, ast.Import | ast.ImportFrom) for n in node.body)  # type: ignore[attr-defined]
        work = not (isinstance(node, kinds) or docstring or guarded or typing or joining or silenced)
        assert not work, f"{file.name}:{node.lineno} does work when the module loads"


QUIET = """
import importlib, json, random, sys, threading
import numpy, torch, rich.console  # rich draws a random number when it loads

def state():
    return (random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist(),
            torch.get_default_dtype(), torch.is_grad_enabled(), threading.active_count())

before, failed = state(), {}
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {error}"
print(json.dumps({"failed": failed, "changed": before != state()}))
"""


def test_every_module_imports_quietly(tmp_path: Path) -> None:
    """In a fresh process: no output, no file, no thread, no random number drawn, no default changed."""
    names = json.dumps([module_name(file) for file in FILES if file.stem != "__main__"])
    command = [sys.executable, "-W", "error", "-c", QUIET, names]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True, timeout=300)
    assert json.loads(done.stdout) == {"failed": {}, "changed": False}
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_a_spawned_process_can_call_the_package() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(plugins.names, ("models",)) == plugins.names("models")


def test_every_data_file_is_packed() -> None:
    """package-data names all weights, recipes and templates; an editable install hides a gap."""
    globs = PYPROJECT["tool"]["setuptools"]["package-data"]["cinetune"]
    packed = {file for glob in globs for file in SRC.glob(glob)}
    data = {file for file in SRC.rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc")}
    assert data - packed == set()


def test_constraints_pin_every_dependency() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    wanted = [*PROJECT["dependencies"], *(r for rs in PROJECT["optional-dependencies"].values() for r in rs)]
    assert distributions(pins) == distributions(wanted)
