"""GPUs: memory, dense bf16 speed and memory bandwidth, as their vendor states them. The one place with such numbers."""

import difflib
from dataclasses import dataclass

import torch

from cinetune.errors import RunError


@dataclass(frozen=True)
class Gpu:
    """One GPU."""

    name: str
    memory: float
    """GiB, all of it, as nvidia-smi shows it."""
    tflops: float | None
    """Dense bf16 with fp32 accumulation, TFLOP/s (10^12); None where the table does not know the GPU."""
    bandwidth: float | None
    """GB/s (10^9 bytes) of its memory."""
    source: str


GPUS = (
    Gpu("A100-40GB", 40.0, 312.0, 1555.0, "NVIDIA A100 data sheet, SXM4 40 GB"),
    Gpu("A100-80GB", 80.0, 312.0, 2039.0, "NVIDIA A100 data sheet, SXM4 80 GB"),
    Gpu("H100-SXM", 79.6, 989.4, 3350.0, "NVIDIA H100 data sheet, SXM5; half of 1978.9 with sparsity"),
    Gpu("H100-PCIe", 79.6, 756.5, 2000.0, "NVIDIA H100 data sheet, PCIe; half of 1513 with sparsity"),
    Gpu("H200", 140.4, 989.4, 4800.0, "NVIDIA H200 data sheet, SXM; half of 1978.9 with sparsity"),
    Gpu("B200", 179.0, 2250.0, 7700.0, "NVIDIA Blackwell data sheet, one GPU of HGX B200; half of 4500 with sparsity"),
    Gpu("L40S", 45.0, 362.05, 864.0, "NVIDIA L40S data sheet, without sparsity"),
    Gpu("RTX-4090", 24.0, 165.2, 1008.0, "NVIDIA Ada GPU architecture paper, table of the RTX 4090, dense"),
    Gpu("RTX-5090", 31.8, 209.5, 1792.0, "NVIDIA RTX Blackwell GPU architecture paper, table of the RTX 5090, dense"),
)
"""The vendor's own pages were out of reach; the figures were compared with these, which repeat or cite them. A100,
H100, H200, B200: glennklockwood.com/garden/processors. Both H100: archive-lib.hpctech.co.jp/gpuproduct/
nvidia-h100.html. B200's 7.7 TB/s: zdszero.github.io, table of NVIDIA's Blackwell data sheet. L40S: shops that print its
data sheet, where 362.05 stands beside 733 with sparsity. RTX 4090: hmc-tech.com; RTX 5090: codesota.com; both are 512
operations a clock of each multiprocessor at the boost clock. Memory as `nvidia-smi` shows it, in MiB: 40960, 81920,
81559 (both H100), 143771, 183359, 46068, 24564, 32607 (modal-labs/modal-client#2797 and public logs).
"""
OTHER = {"laptop", "mobile", "max", "nvl", "d", "super"}
"""Words in the name of a GPU that make it another one, whose peak is not here."""


def find_gpu(name: str) -> Gpu:
    """Return the GPU of a name; "h100", "RTX 4090" and "NVIDIA A100-SXM4-80GB" will do.

    Raises:
        RunError: not in the table; the nearest names are offered. A bare "A100" is refused: there are two.
    """
    words = set(_plain(name).split())
    exact = [gpu for gpu in GPUS if _plain(gpu.name) == _plain(name)]
    found = exact or _matches(words)
    if len(found) == 1:
        return found[0]
    known = {_plain(gpu.name): gpu.name for gpu in GPUS}
    close = [gpu.name for gpu in GPUS if _plain(name) and _plain(name) in _plain(gpu.name)]
    close = close or [known[hit] for hit in difflib.get_close_matches(_plain(name), known)] or list(known.values())
    raise RunError(f"--gpu {name}: not in the table of GPUs; did you mean {' or '.join(close)}?")


def detect(number: int = 0) -> Gpu | None:
    """Return a CUDA GPU of this machine, with its true memory; None where there is none."""
    if not torch.cuda.is_available():
        return None
    found = torch.cuda.get_device_properties(number)
    memory = found.total_memory / 2**30
    matches = _matches(set(_plain(found.name).split()))
    if not matches:
        return Gpu(found.name, memory, None, None, "torch.cuda")
    nearest = min(matches, key=lambda gpu: abs(gpu.memory - memory))
    return Gpu(nearest.name, memory, nearest.tflops, nearest.bandwidth, nearest.source)


def _matches(words: set[str]) -> list[Gpu]:
    """The GPUs that a name's words make out, those of most words: "H100 PCIe" is not the SXM form."""
    if words & OTHER:
        return []
    found = [gpu for gpu in GPUS if _words(gpu) <= words]
    most = max((len(_words(gpu)) for gpu in found), default=0)
    return [gpu for gpu in found if len(_words(gpu)) == most]


def _words(gpu: Gpu) -> set[str]:
    """The words that make out a GPU; an H100 without further words is taken for the SXM form."""
    return set(_plain(gpu.name).split()) - {"sxm"}


def _plain(name: str) -> str:
    words = name.lower().replace("-", " ").replace("_", " ").split()
    return " ".join(word for word in words if word not in ("nvidia", "geforce")).replace("rtx", "").strip()
