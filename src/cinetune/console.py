"""What a stage tells the person at the terminal, or the log: progress with time left, choices made, the closing line.

Progress and notes go to standard error, closing lines to standard output. On anything but a live terminal (a pipe,
a file, a CI log) progress is plain lines: one at the start, one every ten seconds and one at the end; no ANSI codes.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

LINE_EVERY_S = 10.0
SPEED_OVER_S = 600.0
"""The time left follows the speed of the last ten minutes: one step of a large model may take half a minute."""
_hushed = False


@runtime_checkable
class Advance(Protocol):
    """Tell the progress that `n` more units are done, and what the latest number is."""

    def __call__(self, n: int | float = 1, text: str = "") -> None: ...


def hush() -> None:
    """Say nothing from now on but errors: of several processes that do the same, one speaks."""
    global _hushed
    _hushed = True


def error(text: str) -> None:
    """Say why the program ends."""
    _print(text, sys.stderr)


def note(text: str) -> None:
    """Say a choice that was made or a thing worth knowing, one line."""
    if not _hushed:
        _print(text, sys.stderr)


def done(text: str) -> None:
    """Say what a stage made and where: the one closing line of a stage."""
    if not _hushed:
        _print(text, sys.stdout)


def is_live() -> bool:
    """Whether a person sees standard error as it is written, on a terminal that can redraw a line."""
    return not _hushed and sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


@contextmanager
def progress(label: str, total: int | float, done: int | float = 0) -> Iterator[Advance]:
    """Show how far the work is and the time left.

    Args:
        label: what is being done, such as "encode clips".
        total: units of the whole work (0 is allowed: nothing to do).
        done: units that an earlier, interrupted run did already; they do not count for the speed.

    Yields:
        A function to call with the units just done.
    """
    with _bar(label, total, done) if is_live() else _lines(label, total, done) as advance:
        yield advance


@contextmanager
def _bar(label: str, total: int | float, start: int | float) -> Iterator[Advance]:
    # here, because the import of rich draws from Python's global random numbers
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[text]}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=Console(file=sys.stderr), speed_estimate_period=SPEED_OVER_S) as bars:
        task = bars.add_task(label, total=total, completed=start, text="")  # type: ignore[arg-type]  # floats work

        def advance(n: int | float = 1, text: str = "") -> None:
            bars.update(task, advance=n, text=text)

        yield advance


@contextmanager
def _lines(label: str, total: int | float, start: int | float) -> Iterator[Advance]:
    began = said = time.monotonic()
    now_done = start
    note(f"{label}: {start:.0f}/{total:.0f}")

    def advance(n: int | float = 1, text: str = "") -> None:
        nonlocal now_done, said
        now_done += n
        now = time.monotonic()
        if now - said >= LINE_EVERY_S and now_done < total:
            said = now
            left = (now - began) / max(now_done - start, 1e-9) * (total - now_done)
            note(f"{label}: {now_done:.0f}/{total:.0f}, {clock(left)} left{', ' * bool(text)}{text}")

    yield advance
    note(f"{label}: {now_done:.0f}/{total:.0f} in {clock(time.monotonic() - began)}")


def clock(seconds: float) -> str:
    """Return "7 s", "3 min 20 s" or "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _print(text: str, stream: Any) -> None:
    """Print a line, with ? for what the terminal cannot show (a Windows code page, LANG=C)."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), file=stream, flush=True)
