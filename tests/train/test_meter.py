"""What a line of the log says of the speed, by a clock that is told the time."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from cinetune.models._contract import Condition
from cinetune.models._short_text import PADDED_LENGTH
from cinetune.models._wan import WanModel
from cinetune.ops.flops import Shape, training_flops
from cinetune.ops.gpus import GPUS, Gpu
from cinetune.train import meter as module
from cinetune.train.batches import Batch
from cinetune.train.meter import Meter, brief
from cinetune.train.work import Work, describe_work
from tiny_step import CPU, EVERYTHING, adapted


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def batch(clips: int = 2, words: int = 5) -> Batch:
    """5 frames of 32x48: 2 x 2 x 3 tokens."""
    latents, given = torch.zeros(clips, 16, 2, 4, 6), torch.zeros(clips, 20, 2, 4, 6)
    told = Condition(given, torch.zeros(clips, 257, 96), torch.zeros(clips, words, 64), (words,) * clips)
    return Batch(latents, latents, torch.zeros(clips), told)


@pytest.fixture(scope="module")
def work(tiny: WanModel) -> Work:
    return describe_work(adapted(tiny), tiny.facts)


def run(meter: Meter, clock: Clock, waits: list[float], works: list[float]) -> None:
    def slow() -> Iterator[Batch]:
        for wait in waits:
            clock.now += wait
            yield batch()

    watched = meter.watch(slow())
    for busy in works:
        next(watched)
        clock.now += busy


def test_a_line_of_the_log(work: Work, tiny: WanModel) -> None:
    clock = Clock()
    meter = Meter(work, CPU, steps=10, done=4, clock=clock)
    run(meter, clock, [0.5, 0.0], [1.0, 2.5])
    row = meter.row()
    assert row["step_seconds"] == 4.0
    assert row["tokens_per_second"] == 2 * 2 * 12 / 4.0
    assert row["data_wait"] == 0.125
    assert row["seconds_left"] == 5 * 4.0
    assert row["mfu"] is row["hfu"] is None, "nobody states the peak of a CPU"
    shape = Shape(5, 32, 48, batch=2, text_tokens=6)  # the caption's 5 and one that stands for the padding
    layers = list(work.layers or ())
    needed = training_flops(work.sizes, shape, layers=layers, rank=4, checkpointing=False).model
    assert row["tflops"] == pytest.approx(2 * needed / 4.0 / 1e12, abs=5e-5)
    assert isinstance(row["peak_bytes"], int)
    assert row["peak_bytes"] > 2**20
    json.dumps(row)
    assert brief(row) == "4 s/step"
    clock.now += 1.0  # the next step starts anew
    assert meter.row()["step_seconds"] == 1.0
    assert meter.row.__doc__ is not None
    assert all(name in meter.row.__doc__ for name in row), "every key is explained"


def test_pauses_are_no_training_but_take_time(work: Work) -> None:
    clock = Clock()
    meter = Meter(work, CPU, steps=3, clock=clock)
    clock.now += 2
    meter.row()
    with meter.paused():
        clock.now += 10
    clock.now += 2
    row = meter.row()
    assert row["step_seconds"] == 2.0
    assert row["seconds_left"] == (2 + 12) / 2


def test_shares_of_the_peak(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two data ranks of two processes each: a process does half of the work on its group's clips."""
    one_gpu = Gpu("made up", 1.0, 1e-6, None, "")  # 10^6 FLOP/s
    monkeypatch.setattr(module, "detect", lambda number: one_gpu)
    for name in ("reset_peak_memory_stats", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda device: 123)
    again, clock = replace(work, checkpointing=True), Clock()
    meter = Meter(again, torch.device("cuda"), steps=3, data_world=2, world=4, clock=clock)
    run(meter, clock, [0.0], [1.0])
    row = meter.row()
    cost = again.flops(again.shape((2, 16, 2, 4, 6), (5, 5), 257))
    assert row["mfu"] == pytest.approx(cost.model / 2 / 1e6, abs=1e-4)
    assert row["hfu"] == pytest.approx(cost.hardware / 2 / 1e6, abs=1e-4)
    assert row["hfu"] > 1.2 * row["mfu"]
    assert row["tokens_per_second"] == 2 * 2 * 12
    assert row["peak_bytes"] == 123
    assert "MFU" in brief(row)


def test_why_there_is_no_share_is_said(
    work: Work, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Meter(work, CPU, steps=1).announce()
    assert capsys.readouterr().err == (
        "train: no share of the hardware limit (MFU, HFU): no peak is stated for a cpu\n"
    )
    assert module._peak(torch.device("cuda"), Gpu("B9000", 1.0, None, None, "")) == (
        None, "the peak of B9000 is not in ops/gpus.py"
    )  # fmt: skip
    known = next(gpu for gpu in GPUS if gpu.name == "H200")
    assert module._peak(torch.device("cuda"), known) == (989.4e12, "")


def test_what_is_trained_is_read_off_the_network(tiny: WanModel) -> None:
    work = describe_work(adapted(tiny, targets=EVERYTHING), tiny.facts)
    assert work.rank == 4
    assert {layer.name.split(".", 2)[2] for layer in work.layers or ()} == set(EVERYTHING)
    assert not work.checkpointing
    network: Any = tiny.load_transformer(CPU, torch.float32).requires_grad_(True)
    network.enable_gradient_checkpointing()
    whole = describe_work(network, tiny.facts)
    assert whole.layers is None
    assert whole.checkpointing


def test_a_caption_is_padded_where_the_network_pads_it(work: Work) -> None:
    small = (1, 16, 2, 4, 6)
    assert work.shape(small, (5,), 257).text_tokens == 6
    assert replace(work, checkpointing=True).shape(small, (5,), 257).text_tokens == PADDED_LENGTH
    large = work.shape((1, 16, 3, 40, 40), (5,), 257)
    assert (large.frames, large.height, large.width) == (9, 320, 320)
    assert large.text_tokens == PADDED_LENGTH, "more video tokens than padding"
