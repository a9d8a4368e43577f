"""Signals while training, really sent."""

import os
import signal

import pytest

from cinetune.train.signals import noticed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noticed_once_and_the_handlers_come_back(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    with noticed() as asked:
        assert asked.number == 0
        os.kill(os.getpid(), number)
        assert asked.number == number
        assert {n: signal.getsignal(n) for n in before} == before, "a second signal ends the process as ever"
    assert {n: signal.getsignal(n) for n in before} == before
    assert f"{number.name}; saving after this step" in capsys.readouterr().err
    with pytest.raises((KeyboardInterrupt, SystemExit)) as left:
        asked.leave(asked.number)
    assert isinstance(left.value, KeyboardInterrupt) or left.value.code == 128 + number
