"""Which processor the work runs on, chosen once and said; and the memory that it has."""

import os
import platform
import sys
from pathlib import Path

import torch

from cinetune.console import note
from cinetune.errors import RunError


def pick_device(wanted: str = "auto") -> torch.device:
    """Return the device: "auto" takes a CUDA GPU where there is one.

    Raises:
        RunError: no such device on this machine.
    """
    if wanted == "auto":
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        note(f"device: {describe(device)} (chosen automatically; --device overrides)")
        return device
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise RunError(f"--device {wanted}: not a device; give cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RunError(f"--device {wanted}: no CUDA GPU on this machine; give cpu or auto")
    return device


def rank() -> int:
    """Return which of the processes that torchrun started this is; 0 where there is but one."""
    return int(os.environ.get("RANK", "0"))


def size() -> int:
    """Return how many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def describe(device: torch.device) -> str:
    """Return the device in words, such as "cpu, AMD EPYC, 2 threads"."""
    if device.type == "cuda":
        return f"{device}, {torch.cuda.get_device_name(device)}"
    return f"{device}, {_processor()}, {torch.get_num_threads()} threads of {os.cpu_count()}"


def wait(device: torch.device) -> None:
    """Let a GPU finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free_memory() -> int | None:
    """Return the bytes of main memory that a program may still take; None where the system does not say (not Linux)."""
    path = Path("/proc/meminfo")
    if not path.is_file():
        return None
    lines = dict(line.split(":", 1) for line in path.read_text(encoding="ascii").splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024


def resident_memory() -> int | None:
    """Return the most bytes of main memory that this process ever held, libraries and all; None on Windows."""
    if sys.platform == "win32":
        return None
    from resource import RUSAGE_SELF, getrusage

    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _processor() -> str:
    try:  # Linux alone names the processor here; elsewhere platform knows
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        return names[0] if names else platform.machine()
    except OSError:
        return platform.processor() or platform.machine()
