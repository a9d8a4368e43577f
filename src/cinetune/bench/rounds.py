"""Round by round every cell is timed once, in a random order: what the machine does meanwhile hits all alike."""

import gc
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from cinetune import console
from cinetune.bench.journal import Journal
from cinetune.bench.machine import clock_of, compiled_one_by_one, flop_limit, state, timed
from cinetune.bench.plan import Cell, Plan
from cinetune.bench.subjects import Subjects, weight_bytes
from cinetune.doctor.timing import NO_MEMORY
from cinetune.doctor.vae import LiveBytes
from cinetune.errors import RunError
from cinetune.speed.compiling import what_is_missing

DECODINGS = 3
"""Timed; one before them is not."""
COMPILED_BYTES = "on a CPU what compiled code holds cannot be counted"


def run_rounds(plan: Plan, subjects: Subjects, journal: Journal) -> None:
    """Warm every cell up, then time all of them in as many rounds as are still missing.

    Raises:
        RunError: out of memory.
    """
    done = len(journal.of("round"))
    if done >= plan.rounds:
        return
    device = subjects.device
    missing = what_is_missing(device) if "compiled" in plan.arms else ""
    if missing:
        console.note(f"bench: without the arm compiled: {missing}")
    cells = [cell for cell in plan.cells() if not (missing and cell.arm == "compiled")]
    try:
        with compiled_one_by_one():
            _measure_once(plan, subjects, journal)
            work = _warmed_up(cells, subjects, journal)
            with console.progress("bench: rounds", plan.rounds, done) as advance:
                for number in range(done, plan.rounds):
                    _round(number, plan, work, journal, device)
                    advance(1)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(words in str(error).lower() for words in NO_MEMORY):
            raise
        raise RunError("bench: out of memory; give --block, fewer --ranks or a smaller --shapes") from None


def order(cells: Sequence[Cell], seed: int, number: int) -> list[Cell]:
    """Return the cells in the order of a round, which seed and number fix."""
    return [cells[n] for n in np.random.default_rng([seed, number]).permutation(len(cells))]


def _round(
    number: int, plan: Plan, work: dict[Cell, Callable[[], object]], journal: Journal, device: torch.device
) -> None:
    seconds = {}
    for cell in order(list(work), plan.seed, number):
        work[cell]()  # the caches hold what this cell works with, not what the one before it did
        seconds[str(cell)] = timed(work[cell], device, plan.repeats)
    journal.add("round", round=number, seconds=seconds, **state(device))


def _warmed_up(cells: Sequence[Cell], subjects: Subjects, journal: Journal) -> dict[Cell, Callable[[], object]]:
    """Run every cell for the first time (kernels are chosen and compiled), then count what it holds."""
    device, work = subjects.device, {}
    with console.progress("bench: warm-up", len(cells)) as advance:
        for cell in cells:
            work[cell] = subjects.work(cell)
            first = timed(work[cell], device, 1)
            peak = _peak(work[cell], device) if device.type == "cuda" or cell.arm != "compiled" else None
            journal.add(
                "warm-up", cell=str(cell), seconds=first, weights=weight_bytes(subjects.network(cell)), peak=peak,
                reason="" if peak is not None else COMPILED_BYTES,
            )  # fmt: skip
            advance(1)
    gc.collect()
    return work


def _peak(run: Callable[[], object], device: torch.device) -> int:
    """Bytes of tensors made while a cell runs, at their peak: its weights and what it is given are not among them."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = int(torch.cuda.memory_allocated(device))
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return int(torch.cuda.max_memory_allocated(device)) - before
    with LiveBytes() as live:
        run()
    peak: int = live.peak
    return peak


def _measure_once(plan: Plan, subjects: Subjects, journal: Journal) -> None:
    """Measure the limit of the machine, and the time that decoding takes at each size."""
    device = subjects.device
    if not journal.of("limit"):
        limit, source = flop_limit(device, subjects.dtype, clock_of(device, plan.threads))
        journal.add("limit", flops=limit, source=source)
    known = {line["size"] for line in journal.of("decoded")}
    wanted = [size for size in plan.sizes if str(size) not in known] if plan.kind == "forward" else []
    if not wanted:
        return
    decoder = subjects.model.load_decoder(device)
    for size in wanted:
        decode = partial(decoder.decode, subjects.latents(size))
        first, runs = timed(decode, device, 1), [timed(decode, device, 1) for _ in range(DECODINGS)]
        journal.add("decoded", size=str(size), first=first, runs=runs)
    decoder.rest()
