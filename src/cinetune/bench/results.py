"""From the journal of a bench to its numbers: what bench.json holds and tables and plots show."""

from collections import defaultdict
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float

from cinetune.bench.journal import Journal
from cinetune.bench.latency import LEAST, LEVEL, fit, mean, ratio
from cinetune.bench.plan import ARMS, CONTROL, Cell, Plan, Size
from cinetune.bench.quality import METRICS

SCHEMA = 1
HOUR = 3600.0


def gather(plan: Plan, journal: Journal, clock: str, flops: dict[Size, int | None]) -> dict[str, Any]:
    """Return everything as one tree of JSON.

    Args:
        clock: "cpu" or "wall": what seconds and ratios are of.
        flops: what the base needs for one run of a cell, by size.
    """
    times = _times(plan, journal, clock)
    cells = [_cell(cell, plan, journal, times, clock, flops) for cell in plan.cells() if cell in times]
    identity = {key: value for key, value in journal.lines[0].items() if key != "what"}
    return {
        "schema": SCHEMA, "clock": clock, "level": LEVEL, "rounds": len(journal.of("round")), **identity,
        "limit": next(iter(journal.of("limit")), None), "states": [_state(line) for line in journal.of("round")],
        "cells": cells, "latency": _lines(plan, times), "merged": _merged(plan, times),
        "levers": _levers(plan, journal, clock), "backbones": next(iter(journal.of("looked through")), None),
        "processes": _processes(journal), "seconds": {str(cell): list(map(float, of)) for cell, of in times.items()},
    }  # fmt: skip


def _times(plan: Plan, journal: Journal, clock: str) -> dict[Cell, Float[np.ndarray, " n"]]:
    """Seconds of each cell, round by round."""
    rounds = [line["seconds"] for line in journal.of("round")]
    known = {str(cell): cell for cell in plan.cells()}
    names = [name for name in known if rounds and name in rounds[0]]
    return {known[name]: np.array([line[name][clock == "cpu"] for line in rounds]) for name in names}


def _cell(
    cell: Cell, plan: Plan, journal: Journal, times: dict[Cell, Float[np.ndarray, " n"]], clock: str,
    flops: dict[Size, int | None],
) -> dict[str, Any]:  # fmt: skip
    seconds, limit = float(np.median(times[cell])), next(iter(journal.of("limit")), {"flops": None})["flops"]
    warm = next(line for line in journal.of("warm-up") if line["cell"] == str(cell))
    against = Cell("base", 0, cell.size) if cell.arm == "compiled" else cell.reference
    needed = flops[cell.size]
    videos, why = _videos(cell.size, seconds, plan, journal, clock)
    return {
        "arm": cell.arm, "rank": cell.rank, "size": str(cell.size), "seconds": seconds,
        "over_base": None if cell == against else ratio(times[cell], times[against], seed=plan.seed),
        "share_of_limit": needed / seconds / limit if needed and limit else None,
        "videos_per_hour": videos, "videos_per_hour_reason": why, "first_seconds": warm["seconds"][0],
        "weights": warm["weights"], "peak": warm["peak"], "peak_reason": warm["reason"],
    }  # fmt: skip


def _videos(size: Size, seconds: float, plan: Plan, journal: Journal, clock: str) -> tuple[float | None, str]:
    """Videos in an hour: forward passes of all steps, twice with guidance, and decoding."""
    if plan.kind == "whole":
        return HOUR / seconds, ""
    decoded = next((line for line in journal.of("decoded") if line["size"] == str(size)), None)
    if decoded is None:
        return None, "one block alone"
    decoding = float(np.median([run[clock == "cpu"] for run in decoded["runs"]]))
    return HOUR / (plan.steps * (2 if plan.guidance > 1 else 1) * seconds + decoding), ""


def _lines(plan: Plan, times: dict[Cell, Float[np.ndarray, " n"]]) -> list[dict[str, Any]]:
    """latency(r) of every arm and size."""
    found = []
    for size in plan.sizes:
        for arm in plan.arms:
            cells = [cell for rank in plan.adapted if (cell := Cell(arm, rank, size)) in times]
            told: dict[str, Any] = {"arm": arm, "size": str(size)}
            if len(cells) < 2:
                found.append(told | {"model": None, "reason": "a line needs two ranks above 0"})
                continue
            ratios = np.stack([times[cell] / times[cell.reference] for cell in cells], axis=1)
            line = fit([cell.rank for cell in cells], ratios, seed=plan.seed)
            points = [ratio(times[cell], times[cell.reference], seed=plan.seed) for cell in cells]
            ranks = [cell.rank for cell in cells]
            drawn = [[rank, line.at(rank)] for rank in (ranks[0], ranks[-1])]
            found.append(told | {"model": asdict(line), "ranks": ranks, "points": points, "line": drawn})
    return found


def _merged(plan: Plan, times: dict[Cell, Float[np.ndarray, " n"]]) -> list[dict[str, Any]]:
    """Whether a merged adapter costs nothing: the mean over all ranks, beside the base timed a second time."""
    found = []
    for size in plan.sizes:
        cells = [cell for rank in plan.adapted if (cell := Cell("merged", rank, size)) in times]
        if not cells:
            continue
        base = times[cells[0].reference]
        together = np.exp(np.mean([np.log(times[cell]) for cell in cells], axis=0))
        control = ratio(times[Cell(CONTROL, 0, size)], base, seed=plan.seed)
        over = ratio(together, base, seed=plan.seed)
        found.append({"size": str(size), "over_base": over, "control": control, "holds_1": over.holds(1.0)})
    return found


def _levers(plan: Plan, journal: Journal, clock: str) -> list[dict[str, Any]]:
    by_lever, refused = defaultdict(list), {line["lever"]: line["reason"] for line in journal.of("no lever")}
    for line in journal.of("window"):
        by_lever[line["lever"]].append(line)
    found: list[dict[str, Any]] = []
    for lever in plan.levers:
        lines = by_lever[lever]
        if not lines:
            found.append({"lever": lever, "reason": refused.get(lever, "not measured yet")})
            continue
        exact, own = (np.array([line[key][clock == "cpu"] for line in lines]) for key in ("exact", "seconds"))
        scores = {name: _score([line["scores"][name] for line in lines], plan) for name in METRICS}
        found.append({
            "lever": lever, "reason": "", "windows": len(lines), "same": sum(line["same"] for line in lines),
            "faster": ratio(exact, own, seed=plan.seed), "seconds": float(np.median(own)),
            "scores": scores,
        })  # fmt: skip
    return found


def _score(values: list[float | None], plan: Plan) -> dict[str, Any]:
    """The mean over windows, with an interval where there are enough of them."""
    known = np.array([value for value in values if value is not None])
    if not len(known):
        return {"n": 0, "estimate": None, "reason": "no window has a value: all frames are equal to exact's"}
    few = f"{len(known)} windows; an interval needs {LEAST}" if len(known) < LEAST else ""
    return {"n": len(known), "estimate": mean(known, seed=plan.seed), "reason": few}


def _processes(journal: Journal) -> list[dict[str, Any]]:
    """Speed-up over one process: the ratio of medians, for the processes of one number do not run beside others."""
    found, alone = [], None
    for line in journal.of("processes"):
        if line.get("reason"):
            found.append(line)
            continue
        seconds = float(np.median(line["seconds"]))
        alone = seconds if line["processes"] == 1 else alone
        speedup = None if alone is None else alone / seconds
        found.append(line | {"median": seconds, "speedup": speedup})
    return found


def _state(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in ("what", "seconds")}


def about(arm: str) -> str:
    """Return an arm in words."""
    return {"base": "no adapter", CONTROL: "the base again, in places of its own: the noise"}.get(arm) or ARMS[arm]
