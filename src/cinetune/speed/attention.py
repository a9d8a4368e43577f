"""Which attention kernel a network uses: measured at the work's own size, compared with native, and said.

The names are those of diffusers (models/attention_dispatch.py, AttentionBackendName).
"""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention_dispatch import (
    AttentionBackendName,
    _AttentionBackendRegistry,
    _check_attention_backend_requirements,
    dispatch_attention_fn,
)
from torch import Tensor, nn

from cinetune import console
from cinetune.devices import wait
from cinetune.errors import RecipeError

NATIVE = "native"
ON_CUDA = (NATIVE, "_native_cudnn", "_native_flash", "_native_efficient", "flash", "_flash_3")
"""What auto tries on a GPU: kernels that need no download and round nothing to 8 bits."""
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
"""Largest |difference| / |native| (2-norms) of result and gradients. Two bf16 kernels differ by about 4e-3: bf16 has 8
bits of precision, and each rounds at other places."""
REPEATS = 3


@dataclass(frozen=True)
class Asked:
    """The self-attention of one micro-batch on one process."""

    batch: int
    tokens: int
    heads: int
    width: int
    """Of one head."""
    dtype: torch.dtype
    device: torch.device
    context_parallel: bool = False
    backward: bool = True
    """Training needs gradients too; generation does not."""


@dataclass(frozen=True)
class Trial:
    """What a kernel did."""

    name: str
    seconds: float | None
    """Forward, and backward where asked; None where it cannot be used."""
    difference: float | None
    """From native, as TOLERANCE counts it."""
    why: str = ""
    """Why it cannot be used."""


def choose_attention(network: nn.Module, wanted: str, asked: Asked, *, seed: int = 0, verb: str, option: str) -> str:
    """Give the network's attentions one kernel, say which, and return its name.

    Args:
        network: with WanAttention modules.
        wanted: "auto" or a name.
        asked: the size to measure at.
        seed: of the numbers that the kernels are tried with.
        verb: the command, for what is said.
        option: what the user calls the choice.

    Raises:
        RecipeError: no such kernel, or it cannot be used here, or its answer is not native's.
    """
    if wanted == "auto" and asked.device.type != "cuda":
        name = NATIVE
        console.note(f"{verb}: attention native (the only one for a {asked.device.type})")
    elif wanted == "auto":
        trials = list(try_out(ON_CUDA, asked, seed))
        passes = "forward and backward" if asked.backward else "forward"
        usable = [trial for trial in trials if trial.seconds is not None]
        name = min(usable, key=lambda trial: trial.seconds or 0).name
        told = ", ".join(
            f"{t.name} {1000 * t.seconds:.3g} ms" if t.seconds else f"{t.name} no ({t.why})" for t in trials
        )
        console.note(f"{verb}: attention {name}, the fastest at {asked.tokens} tokens ({passes}: {told})")
    else:
        name = wanted.lower()
        *_, trial = try_out((NATIVE, name) if name != NATIVE else (NATIVE,), asked, seed)
        if trial.seconds is None:
            raise RecipeError(f"{option} = {wanted!r}: {trial.why}; give 'auto' or another")
        console.note(f"{verb}: attention {name}, as asked")
    set_kernel(network, name)
    return name


def set_kernel(network: nn.Module, name: str) -> None:
    """Give the network's attentions a kernel; diffusers' set_attention_backend also changes networks loaded later."""
    for module in network.modules():
        processor: Any = getattr(module, "processor", None)
        if hasattr(processor, "_attention_backend"):
            processor._attention_backend = AttentionBackendName(name)


def try_out(names: tuple[str, ...], asked: Asked, seed: int) -> Iterator[Trial]:
    """Yield a trial of each kernel; the first is native, with which the others are compared."""
    generator = torch.Generator().manual_seed(seed)
    size = (asked.batch, asked.tokens, asked.heads, asked.width)
    given = [torch.randn(size, generator=generator).to(asked.device, asked.dtype) for _ in range(4)]
    reference: list[Tensor] = []
    for name in names:
        why = _unusable(name, asked)
        if why:
            yield Trial(name, None, None, why)
            continue
        try:
            answer = _run(name, given, asked.backward)
            wait(asked.device)
        except (RuntimeError, ValueError, NotImplementedError, TypeError) as error:
            yield Trial(name, None, None, str(error).splitlines()[0] if str(error) else type(error).__name__)
            continue
        reference = reference or answer
        differences = [_difference(one, two) for one, two in zip(answer, reference, strict=True)]
        largest, limit = max(differences), TOLERANCE.get(asked.dtype, TOLERANCE[torch.bfloat16])
        if not largest <= limit:
            yield Trial(name, None, largest, f"differs from native by {largest:.1g}, more than {limit:.0e}")
            continue
        del answer
        yield Trial(name, _timed(name, given, asked), largest)


def _unusable(name: str, asked: Asked) -> str:
    """Why a kernel cannot be used here, before it is tried; empty where it may be."""
    known = [backend.value for backend in AttentionBackendName]
    if name not in known:
        return f"no such kernel; there are {', '.join(known)}"
    backend = AttentionBackendName(name)
    if asked.context_parallel and not _AttentionBackendRegistry._is_context_parallel_available(backend):
        return "not with context parallelism"
    try:
        _check_attention_backend_requirements(backend)
    except RuntimeError as error:
        return str(error).splitlines()[0].rstrip(".")
    return ""


def _run(name: str, given: list[Tensor], backward: bool) -> list[Tensor]:
    """Return the result, and the gradients of query, key and value where these are wanted."""
    *inputs, gradient = given
    if not backward:
        with torch.no_grad():
            return [dispatch_attention_fn(*inputs, backend=AttentionBackendName(name))]
    inputs = [tensor.detach().requires_grad_() for tensor in inputs]
    out: Tensor = dispatch_attention_fn(*inputs, backend=AttentionBackendName(name))
    gradients: Any = torch.autograd.grad(out, inputs, gradient)
    return [out.detach(), *gradients]


def _timed(name: str, given: list[Tensor], asked: Asked) -> float:
    runs = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        _run(name, given, asked.backward)
        wait(asked.device)
        runs.append(time.perf_counter() - began)
    return statistics.median(runs)


def _difference(one: Tensor, two: Tensor) -> float:
    return float((one.float() - two.float()).norm() / two.float().norm())
