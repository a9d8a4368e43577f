import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cinetune.errors import RunError
from cinetune.recipe import Recipe, load_recipe
from cinetune.runs import load_run, locked, open_run


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"stands for a film: run folders only hash it")
    return path


def opened(run: Path, recipe: Recipe, films: list[Path]) -> Path:
    return open_run(run, recipe, films, device="cpu", command=["cinetune", "run"])


def test_what_a_new_run_knows_about_itself(tmp_path: Path, film: Path) -> None:
    recipe = load_recipe("nano")
    run = opened(tmp_path / "run", recipe, [film])
    assert load_run(run) == recipe
    environment = json.loads((run / "environment.json").read_text())
    assert environment["torch"]
    assert environment["command"] == "cinetune run"
    assert list(json.loads((run / "films.json").read_text())) == ["film.mp4"]


def test_opening_again_changes_nothing_and_sweeps_up(tmp_path: Path, film: Path) -> None:
    recipe = load_recipe("nano")
    run = opened(tmp_path / "run", recipe, [film])
    before = {p.name: p.read_bytes() for p in run.iterdir()}
    (run / ".aside-left-by-a-killed-writer.json").write_text("{")
    opened(run, recipe, [film])
    assert {p.name: p.read_bytes() for p in run.iterdir()} == before


def test_another_recipe_is_named_field_by_field(tmp_path: Path, film: Path) -> None:
    run = opened(tmp_path / "run", load_recipe("nano"), [film])
    with pytest.raises(RunError, match=r"lora\.rank is 8 there, 4 here"):
        opened(run, load_recipe("nano", {"lora.rank": "4"}), [film])
    with pytest.raises(RunError, match="seed is 0 there, 1 here"):
        opened(run, load_recipe("nano", {"seed": "1"}), [film])


def test_other_films_and_folders_that_are_no_runs(tmp_path: Path, film: Path) -> None:
    recipe = load_recipe("nano")
    run = opened(tmp_path / "run", recipe, [film])
    other = tmp_path / "other.mp4"
    other.write_bytes(b"another")
    with pytest.raises(RunError, match=r"other films \(film\.mp4\)"):
        opened(run, recipe, [other])
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match="not empty and not a run"):
        opened(full, recipe, [film])
    with pytest.raises(RunError, match="is a file"):
        opened(film, recipe, [film])
    with pytest.raises(RunError, match=r"no recipe\.json"):
        load_run(full)


def test_an_edited_recipe_is_noticed(tmp_path: Path, film: Path) -> None:
    run = opened(tmp_path / "run", load_recipe("nano"), [film])
    path = run / "recipe.json"
    path.write_text(path.read_text().replace('"rank": 8', '"rank": 16'))
    with pytest.raises(RunError, match="does not fit its id"):
        load_run(run)
    path.write_text("{}")
    with pytest.raises(RunError, match="cannot be read"):
        load_run(run)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_folder(tmp_path: Path, film: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(RunError, match="choose another folder"):
        opened(closed / "run", load_recipe("nano"), [film])


def test_a_folder_under_a_file_cannot_be_written(film: Path) -> None:
    with pytest.raises(RunError, match="cannot write here"):
        opened(film / "run", load_recipe("nano"), [film])


def test_two_processes_do_not_share_a_run_but_a_dead_one_does_not_lock(tmp_path: Path) -> None:
    with locked(tmp_path), locked(tmp_path):
        pass  # one process may take its own lock again
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (tmp_path / ".lock").write_text(str(other.pid))
        with pytest.raises(RunError, match=f"process {other.pid} is working here"), locked(tmp_path):
            pass
    finally:
        other.kill()
        other.wait()
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())
    assert not (tmp_path / ".lock").exists()
