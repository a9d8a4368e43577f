"""The doctor's run on this machine: what it counts is compared with the estimate, and nothing here is timed."""

import io
import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from cinetune.devices import free_memory
from cinetune.doctor import doctor as module
from cinetune.doctor import timing
from cinetune.doctor.doctor import Diagnosis, doctor
from cinetune.doctor.measure import Measured, Work
from cinetune.errors import CinetuneError, RecipeError, RunError, WeightsError
from cinetune.models._random import shape_folder
from cinetune.models._wan import WanModel
from cinetune.models.nano import FOLDER
from cinetune.ops.gpus import find_gpu

CPU = torch.device("cpu")
NANO = {"frames": 17, "height": 64, "width": 96, "repeats": 1, "device": "cpu"}


def ask(model: str, **options: Any) -> tuple[Diagnosis, str]:
    out = io.StringIO()
    diagnosis = doctor(model, console=Console(file=out, width=200), **options)
    return diagnosis, out.getvalue()


def weigh(folder: Path) -> int:
    """Numbers in a part's files."""
    from safetensors import safe_open

    total = 0
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as weights:
            total += sum(weights.get_tensor(name).numel() for name in weights.keys())  # noqa: SIM118
    return total


def test_the_embedded_model_with_its_own_weights(tmp_path: Path) -> None:
    """Memory of the step within the 10 % that the page states for small networks; of the forward pass 20 %."""
    file = tmp_path / "out.json"
    diagnosis, text = ask("nano", measure=True, json_file=file, **NANO | {"repeats": 2})
    measured = diagnosis.measured
    assert measured is not None
    assert measured.weights == "stored"
    assert measured.network_expected == pytest.approx(2 * weigh(FOLDER / "transformer"), rel=0.1), "some stays in fp32"
    assert 1 <= measured.network / measured.network_expected < 1.05, "the buffers, which the estimate leaves out"
    assert measured.step.tensors == pytest.approx(measured.step.tensors_expected, rel=0.1)
    assert measured.forward.tensors == pytest.approx(measured.forward.tensors_expected, rel=0.2)
    for work in (measured.forward, measured.step):
        assert len(work.runs) == 2
        assert work.seconds == statistics.median(work.runs) > 0
        assert work.in_use is None
        assert work.share is None, "no GPU, no peak"
    assert measured.forward.needed == diagnosis.forward
    assert (measured.step.needed, measured.step.carried_out) == (diagnosis.step.model, diagnosis.step.hardware)
    rate = measured.forward.needed / measured.forward.seconds
    assert measured.step.seconds_expected == pytest.approx(diagnosis.step.hardware / rate)
    assert measured.resident is not None
    assert measured.resident > measured.step.tensors
    assert "measured on cpu" in text
    assert "stored weights" in text
    assert "peak resident memory of the whole process" in text

    content = json.loads(file.read_text(encoding="utf-8"))["measured"]
    assert content["step"]["tensors"] == measured.step.tensors
    assert content["step"]["measured_over_expected"] == {**measured.step.ratios()}
    assert content["forward"]["measured_over_expected"]["seconds"] is None
    assert content["forward"]["tflops"] == pytest.approx(measured.forward.needed / measured.forward.seconds / 1e12)


def test_random_weights_of_a_folder_stored_in_fp8() -> None:
    options = NANO | {"frames": 5, "precision": "fp8"}
    diagnosis, text = ask(str(FOLDER), weights="random", measure=True, **options)
    measured = diagnosis.measured
    assert measured is not None
    assert measured.weights == "random"
    assert 1 <= measured.network / measured.network_expected < 1.05
    assert measured.step.tensors == pytest.approx(measured.step.tensors_expected, rel=0.1)
    assert f"model          random:{FOLDER}" in text


def test_the_same_seed_gives_the_same_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    def once(run: Callable[[], None], *_: object) -> timing.Timed:
        run()
        return timing.Timed((1.0,), 1, None)

    monkeypatch.setattr("cinetune.doctor.measure.run_timed", once)
    losses = []
    for seed in (1, 1, 2):
        measured = ask("nano", weights="random", measure=True, seed=seed, **NANO | {"frames": 5})[0].measured
        assert measured is not None
        losses.append(measured.loss)
    assert losses[0] == losses[1] != losses[2]


def work(seconds: float, needed: int, share: float | None) -> Work:
    return Work(seconds, (seconds,), 1.0, needed, needed, share, 10, 10, 12, 12)


def test_the_forward_pass_calibrates_what_the_gpu_is_expected_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """At half the peak: a step then takes what is carried out, checkpointing included, over half the peak."""
    h200 = find_gpu("H200")
    told: dict[str, Any] = {}

    def stand_in(*_: object, **options: Any) -> Measured:
        told.update(options)
        forward = work(1.0, 1, 0.5)
        return Measured("cuda, H200", "random", 0, 1.0, 1, 1, forward, replace(forward, seconds=2.0), 0.1, None)

    monkeypatch.setattr(module, "try_out", stand_in)
    monkeypatch.setattr(module, "pick_device", lambda _: torch.device("cuda:1"))
    monkeypatch.setattr(module, "detect", lambda number: h200 if number == 1 else None)
    diagnosis, text = ask("wan2.1-i2v-14b-720p", weights="random", measure=True, seed=3)
    assert (told["gpu"], told["share"], told["seed"]) == (h200, module.SHARE_OF_PEAK, 3)
    assert (diagnosis.share, diagnosis.gpus[0].gpu) == (0.5, h200)
    assert diagnosis.gpus[0].step_expected == pytest.approx(diagnosis.step.hardware / 989.4e12 / 0.5)
    assert "at 50% of the peak (measured here, one forward pass in 1 s)" in text
    assert "GPU memory in use" in text
    assert "random:wan2.1-i2v-14b-720p: 16,394,878,784 parameters" in text


def test_memory_of_a_gpu_is_what_its_allocator_and_its_driver_say(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for name, answer in (
        ("empty_cache", None), ("synchronize", None), ("reset_peak_memory_stats", None),
        ("mem_get_info", (60, 100)), ("memory_reserved", 30), ("max_memory_reserved", 35), ("max_memory_allocated", 25),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, lambda *_, name=name, answer=answer: (asked.append(name), answer)[1])
    runs: list[int] = []
    timed = timing.run_timed(lambda: runs.append(len(asked)), list, torch.device("cuda"), 2)
    assert (len(runs), len(timed.runs)) == (3, 2)
    assert (timed.tensors, timed.in_use) == (25, 35 + 100 - 60 - 30), "the pool at its peak, and what is outside it"
    assert asked[:3] == ["empty_cache", "synchronize", "reset_peak_memory_stats"], "the first run does not count"
    assert asked[3:5] == ["synchronize"] * 2


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        ("nano", {"full": True}, RecipeError, "leave --full out"),
        ("nano", {"gpu": "H200"}, RecipeError, "runs on this machine's cpu; leave --gpu H200 out"),
        ("nano", {"calibrate": 1.0}, RecipeError, "give one of the two"),
        ("nano", {"repeats": 0}, RecipeError, "repeats must be at least 1"),
        ("wan2.2-i2v-a14b", {"weights": "random"}, RecipeError, "two networks"),
        ("wan3", {"weights": "random"}, WeightsError, r"no published config 'wan3'; choose one of wan2\.1-flf2v-14b"),
        ("config.json", {}, RecipeError, "is one config; give a name"),
    ],
)
def test_what_is_not_measured_is_one_line(
    model: str, options: dict[str, Any], error: type[CinetuneError], message: str
) -> None:
    if model == "config.json":
        model = str(FOLDER / "transformer" / model)
    with pytest.raises(error, match=message) as caught:
        ask(model, measure=True, **NANO | options)
    assert "\n" not in str(caught.value)


def test_main_memory_is_asked_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cinetune.doctor.measure.free_memory", lambda: 2**34)
    monkeypatch.setattr("cinetune.models._random.build_empty", lambda *_: pytest.fail("builds"))
    with pytest.raises(RunError, match=r"needs about 4\d\.\d GiB, and 16\.0 GiB of main memory are free; switch on"):
        ask("wan2.1-i2v-14b-720p", weights="random", measure=True, device="cpu")


@pytest.mark.parametrize(
    "told", [torch.OutOfMemoryError("CUDA out of memory. Tried\nto allocate"), RuntimeError("can't allocate memory")]
)
def test_out_of_memory_is_one_line_with_what_to_switch_on(told: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise told

    monkeypatch.setattr(WanModel, "load_transformer", full)
    with pytest.raises(RunError, match="out of memory while building the network; switch on --checkpointing, "):
        ask("nano", measure=True, checkpointing=False, **NANO)
    with pytest.raises(RunError, match="switch on --batch 1, --precision fp8, fewer --frames, or a smaller picture"):
        ask("nano", measure=True, batch=2, **NANO)


def test_another_error_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(WanModel, "velocity", broken)
    with pytest.raises(RuntimeError, match="multiplied"):
        ask("nano", measure=True, **NANO)


def test_free_memory_is_less_than_there_is() -> None:
    free = free_memory()
    assert free is None or 0 < free < 2**46


@pytest.mark.gpu
def test_on_a_gpu_the_estimate_holds() -> None:
    diagnosis, _ = ask("wan2.1-t2v-1.3b", weights="random", measure=True, frames=33, height=480, width=832)
    measured = diagnosis.measured
    assert measured is not None
    assert measured.step.tensors == pytest.approx(measured.step.tensors_expected, rel=0.1)
    assert shape_folder("wan2.1-t2v-1.3b").is_dir()
