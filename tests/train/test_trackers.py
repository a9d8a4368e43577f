"""The numbers of the log in the trackers themselves, each read back through its own files."""

import importlib.util
import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cinetune.errors import RecipeError, RunError
from cinetune.recipe import Recipe, load_recipe
from cinetune.train import trackers
from cinetune.train.trackers import Trackers

ROW = {"step": 3, "loss": 0.25, "mfu": None, "sigma": [0.1, 0.2], "best": True, "tokens_per_second": 12}


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("nano")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard(tmp_path: Path, recipe: Recipe) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = Trackers(("tensorboard",), tmp_path, recipe)
    for step in (1, 2, 3):
        first.log(step, {**ROW, "loss": step / 10})
    first.close()
    time.sleep(1.1)  # event files are read in the order of their names, which begin with the second
    second = Trackers(("tensorboard",), tmp_path, recipe, start=2)  # the run was killed and goes on from step 2
    second.log(3, {**ROW, "loss": 0.9})
    second.log(3, {"lpips": 0.5}, group="validation")
    second.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"train/loss", "train/tokens_per_second", "validation/lpips"}
    losses = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert losses == [(step, pytest.approx(value)) for step, value in ((1, 0.1), (2, 0.2), (3, 0.9))]


def records(data: bytes) -> Iterator[bytes]:
    """The records of a file of less than 32 KiB: 7 bytes of header, then each behind checksum, length and kind."""
    assert len(data) < 2**15
    at = 7
    while at < len(data):
        size, kind = struct.unpack_from("<HB", data, at + 4)
        assert kind == 1, "a whole record"
        yield data[at + 7 : at + 7 + size]
        at += 7 + size


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wandb(tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline: nothing leaves the machine, and the run's own file holds the numbers."""
    pytest.importorskip("wandb", reason="wandb is not installed")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    folder = tmp_path / "film" / "train"
    folder.mkdir(parents=True)
    open_ones = Trackers(("wandb",), folder, recipe)
    open_ones.log(3, ROW)
    open_ones.close()
    (file,) = folder.rglob("*.wandb")
    found = {}
    for data in records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        found |= {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
    assert found["train/loss"] == 0.25
    assert found["train/tokens_per_second"] == 12
    assert found["_step"] == 3
    assert "train/mfu" not in found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_trackio(tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    trackio = pytest.importorskip("trackio", reason="trackio is not installed")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    folder = tmp_path / "film" / "train"
    folder.mkdir(parents=True)
    open_ones = Trackers(("trackio",), folder, recipe)
    open_ones.log(3, ROW)
    open_ones.close()
    (run,) = trackio.Api().runs("cinetune")
    assert run.name == f"film-{recipe.id}"


def absent(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None if name in names else real(name))


def test_without_tensorboard_that_is_said_and_training_goes_on(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent(monkeypatch, "tensorboard")
    open_ones = Trackers(("tensorboard",), tmp_path, recipe)
    assert capsys.readouterr().err == "train: tensorboard is not installed; the numbers are in log.jsonl alone\n"
    open_ones.log(1, ROW)
    open_ones.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_one_that_was_asked_for_must_be_there(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    absent(monkeypatch, name, "tensorboard")
    with pytest.raises(RunError, match=f"system.trackers: {name} is not installed; `pip install {name}`"):
        Trackers(("tensorboard", name), tmp_path, recipe)


def test_a_name_that_is_no_tracker_is_refused_by_the_recipe() -> None:
    with pytest.raises(RecipeError, match="trackers"):
        load_recipe("nano", {"system.trackers": '["mlflow"]'})
