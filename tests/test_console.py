"""What a log and a terminal see."""

import io
import sys
import time

import pytest

from cinetune import console


def test_lines_at_start_and_end_without_ansi(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("encode clips", 4) as advance:
        for _ in range(4):
            advance(1, "loss 0.1")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["encode clips: 0/4", "encode clips: 4/4 in 0 s"]


def test_a_line_every_ten_seconds_with_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with console.progress("train", 100, done=40) as advance:  # 40 steps of an earlier run
        for _ in range(60):
            now += 4.0
            advance(1, "loss 0.5")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "train: 40/100"
    assert lines[1] == "train: 43/100, 3 min 48 s left, loss 0.5"  # 57 steps of 4 s; the 40 did not count
    assert lines[-1] == "train: 100/100 in 4 min 00 s"
    assert 20 <= len(lines) <= 26


def test_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("cut clips", 0):
        pass
    assert capsys.readouterr().err.splitlines() == ["cut clips: 0/0", "cut clips: 0/0 in 0 s"]


def test_no_end_line_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), console.progress("cut clips", 3) as advance:
        advance(1 / 0)
    assert capsys.readouterr().err.splitlines() == ["cut clips: 0/3"]


def test_done_and_note_go_apart(capsys: pytest.CaptureFixture[str]) -> None:
    console.note("device: cpu")
    console.done("prepare: 3 clips in run/footage")
    assert capsys.readouterr() == ("prepare: 3 clips in run/footage\n", "device: cpu\n")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with console.progress("train [x]", 10, done=2) as advance:
        advance(8, "loss [1]")
    assert "\x1b[" in screen.getvalue()
    assert "train [x]" in screen.getvalue()
    assert "10/10" in screen.getvalue()
    assert "loss [1]" in screen.getvalue()


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "dumb")
    with console.progress("train", 1) as advance:
        advance()
    assert "\x1b" not in screen.getvalue()


def test_a_code_page_without_the_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252", newline="\n"))
    console.done("prepare: \u30d5\u30a3\u30eb\u30e0 caf\u00e9")
    assert raw.getvalue() == "prepare: ???? caf\u00e9\n".encode("cp1252")


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (60, "1 min 00 s"), (7500, "2 h 05 min")])
def test_clock(seconds: float, text: str) -> None:
    assert console.clock(seconds) == text
