"""Training as it goes, on a live terminal: the curve of the loss, held-out LPIPS, speed, memory and the time left."""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cinetune import console

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60
"""Characters of a curve; each is the mean of as many steps as it takes."""


class View:
    """What is told to the person at the terminal. On anything but a live terminal the lines of `console.progress`."""

    def __init__(self, advance: console.Advance, live: Any = None, steps: int = 0) -> None:
        """Take the plain progress, and rich's Live where there is one."""
        self._advance, self._live, self._steps = advance, live, steps
        self._losses = list[float]()
        self._lpips: deque[float] = deque(maxlen=WIDTH)
        self._row: Mapping[str, Any] = {}

    def step(self, row: Mapping[str, Any], text: str) -> None:
        """Show a row of log.jsonl; `text` is its short form."""
        self._losses.append(row["loss"])
        self._row = row
        self._advance(1, text)
        self._draw()

    def validation(self, row: Mapping[str, Any]) -> None:
        """Show a row of validations.jsonl."""
        if row.get("lpips") is not None:
            self._lpips.append(row["lpips"])
        self._draw()

    def _draw(self) -> None:
        if self._live is not None:
            self._live.update(self._table())

    def _table(self) -> Any:
        from rich.table import Table

        row, table = self._row, Table.grid(padding=(0, 2))
        each = max(1, -(-len(self._losses) // WIDTH))
        means = [sum(part) / len(part) for part in _cut(self._losses, each)]
        table.add_row("step", f"{row.get('step', 0)} of {self._steps}", _left(row.get("seconds_left")))
        if means:
            table.add_row("loss", f"{self._losses[-1]:.4f}", spark(means))
        if self._lpips:
            table.add_row("LPIPS", f"{self._lpips[-1]:.4f}", spark(list(self._lpips)))
        if "step_seconds" in row:
            shares = [f"{row[name]:.0%} {name.upper()}" for name in ("mfu", "hfu") if row[name] is not None]
            told = [f"{row['tokens_per_second']:,.0f} tokens/s", f"{row['tflops']:.3g} TFLOP/s", *shares]
            table.add_row("speed", f"{row['step_seconds']:.3g} s/step", ", ".join(told))
            memory = row["peak_bytes"]
            held = "-" if memory is None else f"{memory / 2**30:.3g} GiB"
            table.add_row("memory", held, f"{row['data_wait']:.1%} of the time waiting for data")
        return table


@contextmanager
def watched(steps: int, done: int, *, wanted: bool) -> Iterator[View]:
    """Show training.

    Args:
        steps: of the whole run.
        done: steps that an earlier process did.
        wanted: whether a live terminal shows the dashboard; else it shows a bar.
    """
    if not (wanted and console.is_live()):
        with console.progress("train", steps, done=done) as advance:
            yield View(advance)
        return
    import sys

    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(file=sys.stderr), refresh_per_second=4) as live:
        yield View(lambda n=1, text="": None, live, steps)


def spark(values: list[float]) -> str:
    """Return a curve of bars from the least to the largest value."""
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * scale)] for value in values)


def _cut(values: list[float], each: int) -> Iterator[list[float]]:
    return (values[start : start + each] for start in range(0, len(values), each))


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"{console.clock(seconds)} left"
