"""SIGTERM and SIGINT while training: the step is finished and saved before the process ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from cinetune import console


class Asked:
    """Whether somebody has asked this process to end."""

    def __init__(self) -> None:
        self.number = 0
        """Of the signal; 0 for none."""

    def leave(self, number: int) -> None:
        """End as a signal would have: KeyboardInterrupt, or the exit code that shells give a terminated process."""
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)


@contextmanager
def noticed() -> Iterator[Asked]:
    """Yield what tells whether a signal came; a second one ends the process at once, as ever."""
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked  # Python delivers signals to the main thread; whoever trains elsewhere stops it there
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def notice(number: int, frame: FrameType | None) -> None:
        asked.number = number
        for own, handler in before.items():
            signal.signal(own, handler)
        console.note(f"train: {signal.Signals(number).name}; saving after this step")

    for number in before:
        signal.signal(number, notice)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
