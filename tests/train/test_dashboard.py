"""What a person sees while training: on a live terminal, and elsewhere."""

import io
import sys
from typing import Any

import pytest
from rich.console import Console

from cinetune import console
from cinetune.train.dashboard import View, spark, watched

ROW = {
    "step": 7, "loss": 0.5, "step_seconds": 2.713, "tokens_per_second": 5175.0, "tflops": 437.0, "mfu": 0.442,
    "hfu": 0.66, "peak_bytes": 100 * 2**30, "data_wait": 0.001, "seconds_left": 3725.0,
}  # fmt: skip


def shown(view: View) -> str:
    out = Console(file=io.StringIO(), width=200)
    out.print(view._table())
    file: Any = out.file
    return str(file.getvalue())


def test_the_table() -> None:
    view = View(lambda n=1, text="": None, steps=4000)
    for loss in (3.0, 2.0, 1.0):
        view.step({**ROW, "loss": loss}, "")
    view.validation({"lpips": 0.4321})
    text = shown(view)
    for part in ("7 of 4000", "1 h 02 min left", "1.0000", "█▅▁", "0.4321", "2.71 s/step", "5,175 tokens/s",
                 "437 TFLOP/s", "44% MFU", "66% HFU", "100 GiB", "0.1% of the time"):  # fmt: skip
        assert part in text, part


def test_what_is_not_known_is_left_out() -> None:
    view = View(lambda n=1, text="": None, steps=10)
    assert "loss" not in shown(view)
    view.step({**ROW, "mfu": None, "hfu": None, "peak_bytes": None}, "")
    assert "MFU" not in shown(view)
    view.validation({"lpips": None})
    assert "LPIPS" not in shown(view)


@pytest.mark.parametrize(
    ("values", "curve"),
    [([1.0], "▁"), ([0.0, 7.0], "▁█"), ([2.0, 2.0], "▁▁"), (list(map(float, range(8))), "▁▂▃▄▅▆▇█")],
)
def test_curves(values: list[float], curve: str) -> None:
    assert spark(values) == curve


def test_a_long_run_fits_the_line() -> None:
    view = View(lambda n=1, text="": None, steps=4000)
    for step in range(1000):
        view.step({"step": step, "loss": float(step)}, "")
    line = next(line for line in shown(view).splitlines() if "loss" in line)
    assert 50 <= sum(char in "▁▂▃▄▅▆▇█" for char in line) <= 60


def test_in_a_pipe_there_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with watched(2, 0, wanted=True) as view:
        view.step(ROW, "loss 0.500")
        view.step(ROW, "loss 0.400")
    text = capsys.readouterr().err
    assert text.startswith("train: 0/2\n")
    assert "train: 2/2 in " in text
    assert "\x1b" not in text


@pytest.mark.parametrize("wanted", [True, False])
def test_on_a_terminal(monkeypatch: pytest.MonkeyPatch, wanted: bool) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    with watched(2, 0, wanted=wanted) as view:
        view.step(ROW, "loss 0.500")
        console.note("a note in between")
    text = terminal.getvalue()
    assert "a note in between" in text
    assert ("TFLOP/s" in text) == wanted
