"""Imports point down, never round in a circle, and the sources stay small."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "cinetune"
LAYERS = [  # top to bottom; a part imports only from lower rows and from itself
    {"__main__"},
    {"cli"},
    {"cli_adapter", "cli_bench", "cli_doctor", "cli_evaluate", "cli_generate"},
    {"demo"},
    {"run"},
    {"report", "bench"},
    {"train", "generate", "evaluate", "doctor"},  # they meet on disk
    {"nano"},
    {"metrics"},
    {"footage"},
    {"speed"},
    {"models", "adapters"},
    {"ops"},
    {"recipe", "records", "runs", "plugins", "console", "devices", "files"},
    {"errors"},
    {""},  # cinetune/__init__.py
]
ROOT = LAYERS[-3]  # the one row whose members may import each other
ROW = {part: row for row, parts in enumerate(LAYERS) for part in parts}
FILES = sorted(SRC.rglob("*.py"))


def module_name(file: Path) -> str:
    return ".".join(("cinetune", *file.relative_to(SRC).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {module_name(file): file for file in FILES}


def imports(nodes: list[ast.stmt] | ast.Module, me: str) -> set[str]:
    """The cinetune modules named by the import statements under `nodes`."""
    found = set()
    for top in [nodes] if isinstance(nodes, ast.Module) else nodes:
        for node in ast.walk(top):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{me}: relative import; write the whole name"
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {name if name in MODULES else str(node.module) for name in whole}
    return {name for name in found if name.split(".")[0] == "cinetune"}


def part(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_part_has_a_row() -> None:
    assert not {part(module) for module in MODULES} - set(ROW), "give it a row in LAYERS and in docs/design.md"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    me, wrong = part(module), []
    for target in imports(ast.parse(MODULES[module].read_text(encoding="utf-8")), module):
        you = part(target)
        inside = me == you or {me, you} <= ROOT
        if target not in MODULES:
            wrong.append(f"{target} is not there")
        elif not inside and ROW.get(you, -1) <= ROW.get(me, 99):
            wrong.append(f"{target} is not below")
    assert wrong == []


def test_no_circle() -> None:
    """Of the imports carried out when a module loads; one inside a function may close a circle."""
    graph = {}
    for module, file in MODULES.items():
        top = ast.parse(file.read_text(encoding="utf-8")).body
        graph[module] = imports([n for n in top if isinstance(n, ast.Import | ast.ImportFrom)], module) - {module}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_files_stay_small() -> None:
    sizes = {module: len(file.read_text(encoding="utf-8").splitlines()) for module, file in MODULES.items()}
    assert not {module: n for module, n in sizes.items() if n > 400}
    made_world = ("cinetune.footage.procedural", "cinetune.nano")  # renders and trains what the package embeds
    assert sum(n for module, n in sizes.items() if not module.startswith(made_world)) <= 35_000
