"""Which processor the work runs on, chosen once and said."""

import os
import platform
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


def describe(device: torch.device) -> str:
    """Return the device in words, such as "cpu, AMD EPYC, 2 threads"."""
    if device.type == "cuda":
        return f"{device}, {torch.cuda.get_device_name(device)}"
    return f"{device}, {_processor()}, {torch.get_num_threads()} threads of {os.cpu_count()}"


def _processor() -> str:
    try:  # Linux alone names the processor here; elsewhere platform knows
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        return names[0] if names else platform.machine()
    except OSError:
        return platform.processor() or platform.machine()
