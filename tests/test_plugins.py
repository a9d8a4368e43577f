"""The folder is the registry."""

import subprocess
import sys
from pathlib import Path

import pytest

from cinetune import plugins
from cinetune.errors import PluginError

SRC = Path(__file__).parents[1] / "src" / "cinetune"


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_the_folder_is_the_registry(kind: str) -> None:
    files = {f.stem for f in (SRC / kind.replace(".", "/")).glob("*.py") if not f.stem.startswith("_")}
    assert set(plugins.names(kind)) == files


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_names_import_nothing(kind: str) -> None:
    code = (
        "import sys; from cinetune import plugins; names = plugins.names(sys.argv[1]);"
        "assert not [n for n in names if f'cinetune.{sys.argv[1]}.{n}' in sys.modules]"
    )
    subprocess.run([sys.executable, "-c", code, kind], check=True)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in plugins.KINDS for name in plugins.names(kind)])
def test_every_plugin_loads_and_knows_its_name(kind: str, name: str) -> None:
    assert plugins.load(kind, name).name == name


def test_unknown_name_offers_the_near_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "names", lambda kind: ("flicker", "lpips"))
    with pytest.raises(PluginError, match=r"no metric named 'fliker'; did you mean flicker\?"):
        plugins.load("metrics", "fliker")
    with pytest.raises(PluginError, match=r"did you mean flicker, lpips\?"):
        plugins.load("metrics", "zzz")


def test_a_plugin_outside_the_package() -> None:
    assert plugins.load("metrics", "math:sqrt")(4) == 2


@pytest.mark.parametrize("name", ["no_such_module_at_all:X", "math:no_such_object"])
def test_a_plugin_outside_that_is_not_there(name: str) -> None:
    with pytest.raises(PluginError, match=f"{name}: cannot import this plugin"):
        plugins.load("metrics", name)
