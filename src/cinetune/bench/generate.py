"""`cinetune bench generate`: measure, write down, show. Killed at any moment, the same command goes on."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from cinetune import console
from cinetune.bench.journal import Journal
from cinetune.bench.machine import alone, clock_of, describe_machine, threads_of_cpu, warn_if_busy
from cinetune.bench.plan import Plan
from cinetune.bench.plots import draw
from cinetune.bench.processes import run_processes
from cinetune.bench.quality import run_levers
from cinetune.bench.results import gather
from cinetune.bench.rounds import run_rounds
from cinetune.bench.subjects import Subjects
from cinetune.bench.tables import markdown, show
from cinetune.files import sha256, write_text
from cinetune.models._contract import VideoModel
from cinetune.runs import describe_environment

CLOCKS = {
    "cpu": "ratios are of CPU time: one thread, and others may compute on this machine",
    "wall": "ratios are of time by the wall clock",
}


def bench_generate(
    plan: Plan,
    model: VideoModel,
    out: Path,
    *,
    device: torch.device,
    adapter: Path | None = None,
    stills: Path | None = None,
) -> dict[str, Any]:
    """Carry a plan out, write bench.json, table.md and plots to `out`, print the tables, and return bench.json.

    Args:
        plan: what is measured.
        model: what it is measured on.
        out: folder; of a bench that was begun there with the same plan on the same machine, the rest is measured.
        device: where the network works.
        adapter: a file or folder, of levers alone; else a random one.
        stills: a folder of pictures with prompts, for levers; else frames of held-out rendered films.

    Raises:
        RecipeError: a plan that cannot be carried out.
        RunError: another bench measures on this machine, `out` belongs to another plan or machine, or out of memory.
        WeightsError: weights missing, damaged or of another model.
    """
    plan.check()
    with alone(out), threads_of_cpu(device, plan.threads):
        clock = clock_of(device, plan.threads)
        told = describe_environment(str(device), ["cinetune", *sys.argv[1:]])
        command = told.pop("command")
        given = {"adapter": sha256(adapter) if adapter and adapter.is_file() else str(adapter or ""),
                 "stills": str(stills or "")}  # fmt: skip
        machine = describe_machine(device)
        journal = Journal(
            out / "measured.jsonl",
            {"plan": asdict(plan), "given": given, "machine": machine, "versions": told},
        )
        journal.add("begun", command=command)
        console.note(f"bench: {machine['device']}; {CLOCKS[clock]}")
        warn_if_busy()
        subjects = Subjects(plan, model, device)
        run_rounds(plan, subjects, journal)
        flops = {size: subjects.flops(size) for size in plan.sizes}
        dtype = subjects.dtype
        del subjects
        run_levers(plan, model, journal, out, adapter=adapter, stills=stills, device=device, dtype=dtype)
        run_processes(plan, journal, device)
        tree: dict[str, Any] = json.loads(json.dumps(gather(plan, journal, clock, flops)))
    write_text(out / "bench.json", json.dumps(tree, indent=1, ensure_ascii=False) + "\n")
    write_text(out / "table.md", markdown(tree))
    plots = draw(tree, out)
    from rich.console import Console

    show(tree, Console())
    names = ", ".join(["bench.json", "table.md", *(path.name for path in plots)])
    console.done(f"bench: {tree['rounds']} rounds of {len(tree['cells'])} cells; {names} in {out}")
    return tree
