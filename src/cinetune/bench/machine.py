"""The machine while it is measured: nobody else's bench, what it is, how busy it is, how fast it multiplies."""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from cinetune import console
from cinetune.devices import describe, wait
from cinetune.files import user_cache
from cinetune.ops.gpus import detect
from cinetune.runs import locked

BUSY = 0.5
"""Load average, for each core, above which others disturb what is measured."""
SIDE = 1024
"""Of the matrices by which a CPU's limit is measured."""
ASKED = "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.draw,temperature.gpu,utilization.gpu"


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep other benches off this machine, and out of the folder, while this one measures.

    Raises:
        RunError: another one measures, or works in the folder.
    """
    with locked(user_cache() / "bench"), locked(out):
        yield


@contextmanager
def threads_of_cpu(device: torch.device, threads: int) -> Iterator[None]:
    """Compute with so many threads, where it is a CPU that computes."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def compiled_one_by_one() -> Iterator[None]:
    """Let torch.compile make one kernel for each rank and size instead of one for all, and as many as there are.

    A user has one adapter and compiles for it; cells shall not pay for each other.
    """
    import torch._dynamo

    any_config: Any = torch._dynamo.config
    many = {"automatic_dynamic_shapes": False, "recompile_limit": 4096, "accumulated_recompile_limit": 4096}
    with any_config.patch(**many):
        yield
    forget_compiled()


def forget_compiled() -> None:
    """Let the next network be compiled as if it were the first: torch counts kernels by function, not by network."""
    import torch._dynamo

    torch._dynamo.reset()


def clock_of(device: torch.device, threads: int) -> str:
    """Return which clock ratios are of: "cpu" (seconds of CPU time) or "wall"."""
    return "cpu" if device.type == "cpu" and threads == 1 else "wall"


def timed(run: Callable[[], object], device: torch.device, repeats: int) -> tuple[float, float]:
    """Return seconds of one run by the wall clock and of CPU time; of several the fastest, the least disturbed."""
    runs = []
    wait(device)
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        wait(device)
        runs.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(wall for wall, _ in runs), min(cpu for _, cpu in runs)


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return what does not change while it is measured."""
    return {"device": describe(device), "host": platform.node(), "system": platform.platform()}


def state(device: torch.device) -> dict[str, Any]:
    """Return what changes: load average of a minute, clock of the CPU in MHz, the GPU's clocks, power, temperature."""
    told: dict[str, Any] = {"load": _load(), "cpu_mhz": _megahertz()}
    return told | ({"gpu": _gpu(device)} if device.type == "cuda" else {})


def warn_if_busy() -> None:
    """Say so where others compute on this machine."""
    load, cores = _load(), os.cpu_count() or 1
    if load is not None and load > BUSY * cores:
        console.note(f"bench: load average {load:.1f} on {cores} cores: others compute here; ratios are paired round "
                     "by round and suffer least, for seconds a quiet machine is needed")  # fmt: skip


def flop_limit(device: torch.device, dtype: torch.dtype, clock: str) -> tuple[float | None, str]:
    """Return the most FLOP/s that this device can do, and where the number is from.

    A GPU's is its vendor's, for dense bf16. Nobody states a CPU's: it is that of the fastest of some matrix products.
    """
    if device.type == "cuda":
        gpu = detect(device.index or 0)
        if gpu is None or gpu.tflops is None:
            return None, f"no limit known: {describe(device)} is not in the table of GPUs"
        return gpu.tflops * 1e12, f"dense bf16, {gpu.source}"
    a = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(dtype)
    best = timed(lambda: a @ a, device, 6)[clock == "cpu"]
    name = str(dtype).removeprefix("torch.")
    return 2 * SIDE**3 / best, f"measured: the fastest of 6 products of {name} matrices of {SIDE}x{SIDE}"


def _load() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _megahertz() -> float | None:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    clocks = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    return sum(clocks) / len(clocks) if clocks else None


def _gpu(device: torch.device) -> dict[str, str] | str:
    """What nvidia-smi says, or why nothing."""
    if not shutil.which("nvidia-smi"):
        return "nvidia-smi is not on the path"
    uuid = torch.cuda.get_device_properties(device).uuid  # its own numbers may differ from torch's
    command = ["nvidia-smi", f"--query-gpu={ASKED}", "--format=csv,noheader", f"--id=GPU-{uuid}"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    if asked.returncode:
        return f"nvidia-smi: {(asked.stderr or asked.stdout).strip().splitlines()[0]}"
    return dict(zip(ASKED.split(","), (part.strip() for part in asked.stdout.split(",")), strict=True))
