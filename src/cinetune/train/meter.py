"""How fast training is: time, share of what the hardware can do, memory and waiting, for each line of the log."""

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch

from cinetune import console
from cinetune.devices import resident_memory
from cinetune.ops.flops import Flops, Shape
from cinetune.ops.gpus import Gpu, detect
from cinetune.train.batches import Batch
from cinetune.train.work import Work

RECENT = 50
"""Steps whose mean time the time left assumes."""

Row = dict[str, float | int | None]


class Meter:
    """Sees the batches go by and reads the clock; `row()` closes a step.

    Model FLOPs are what the gradients need, hardware FLOPs what is carried out, with what is computed again. Both
    shares are of the GPU's dense bf16 peak, whatever the precision, so that runs compare.
    """

    def __init__(
        self, work: Work, device: torch.device, *, steps: int, done: int = 0, data_world: int = 1, world: int = 1,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:  # fmt: skip
        """Start the clock of the first step.

        Args:
            work: the network as it is trained.
            device: of this process.
            steps: of the whole run.
            done: steps that an earlier process did.
            data_world: groups of processes that work on different clips.
            world: all processes.
            clock: seconds.
        """
        self.work, self.device, self.clock = work, device, clock
        self.peak, self.why = _peak(device, detect(device.index or 0) if device.type == "cuda" else None)
        self._left, self._data_world, self._world = steps - done, data_world, world
        self._flops: Callable[[Shape], Flops] = lru_cache(maxsize=64)(work.flops)
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._ended = self._began = clock()
        self._waited = 0.0
        self._seen: list[Shape] = []
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def announce(self) -> None:
        """Say why there are no shares, where there are none."""
        if self.why:
            console.note(f"train: no share of the hardware limit (MFU, HFU): {self.why}")

    def watch(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Pass the batches on, taking the time that each is waited for."""
        while True:
            began = self.clock()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self._waited += self.clock() - began
            told = batch.condition
            self._seen.append(self.work.shape(batch.latents.shape, told.text_length, told.image.shape[1]))
            yield batch

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what is not training: validation, checkpoints. The time left counts it."""
        began = self.clock()
        try:
            yield
        finally:
            self._began += self.clock() - began
            if self.device.type == "cuda":  # the next row is about a step again
                torch.cuda.reset_peak_memory_stats(self.device)

    def row(self) -> Row:
        """Return what the log says of the step that ends now, and start the next.

        Returns:
            step_seconds: without pauses; tokens_per_second: of all processes; tflops: 10^12 model FLOPs a second of
            one process; mfu, hfu: 0..1 or None; peak_bytes: of this process's tensors on the GPU in this step, or of
            its main memory so far, None where the system does not say; data_wait: share of the step; seconds_left.
        """
        now = self.clock()
        seconds = now - self._began
        cost = [self._flops(shape) for shape in self._seen]
        sharing = self._world // self._data_world
        model, hardware = (sum(getattr(c, name) for c in cost) / sharing / seconds for name in ("model", "hardware"))
        tokens = sum(shape.batch * shape.tokens(self.work.sizes.patch_size) for shape in self._seen)
        self._recent.append(now - self._ended)
        self._left -= 1
        row: Row = {
            "step_seconds": round(seconds, 4),
            "tokens_per_second": round(tokens * self._data_world / seconds, 1),
            "tflops": round(model / 1e12, 4),
            "mfu": round(model / self.peak, 4) if self.peak else None,
            "hfu": round(hardware / self.peak, 4) if self.peak else None,
            "peak_bytes": self._memory(),
            "data_wait": round(self._waited / seconds, 4),
            "seconds_left": round(self._left * statistics.fmean(self._recent), 1),
        }
        self._began = self._ended = now
        self._waited, self._seen = 0.0, []
        return row

    def _memory(self) -> int | None:
        if self.device.type != "cuda":
            return resident_memory()
        most = torch.cuda.max_memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        return most


def brief(row: Row) -> str:
    """Return a row in a few words, such as "2.71 s/step, 45 % MFU"."""
    mfu = row["mfu"]
    return f"{row['step_seconds']:.3g} s/step" + (f", {mfu:.0%} MFU" if mfu is not None else "")


def _peak(device: torch.device, gpu: Gpu | None) -> tuple[float | None, str]:
    """FLOP/s of the device in dense bf16, or why it is not known."""
    if gpu is None:
        return None, f"no peak is stated for a {device.type}"
    if gpu.tflops is None:
        return None, f"the peak of {gpu.name} is not in ops/gpus.py"
    return gpu.tflops * 1e12, ""
