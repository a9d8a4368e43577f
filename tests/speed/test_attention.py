"""Which attention kernel is taken, and which are refused; a GPU's kernels are stood in for by some of the CPU."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from cinetune.errors import RecipeError
from cinetune.models._wan import WanModel
from cinetune.speed import attention
from cinetune.speed.attention import Asked, choose_attention, try_out
from tiny_step import CPU, adapted, relative, step

SAID = {"verb": "train", "option": "system.attention"}
ASKED = Asked(batch=1, tokens=24, heads=2, width=8, dtype=torch.float32, device=CPU)
REAL = attention.dispatch_attention_fn


def kernels(network: Any) -> set[str]:
    found = [m.processor._attention_backend for m in network.modules() if hasattr(m, "processor")]
    return {backend.value for backend in found}


def test_on_a_cpu_it_is_native_and_that_is_said(tiny: WanModel, capsys: pytest.CaptureFixture[str]) -> None:
    network = adapted(tiny)
    assert choose_attention(network, "auto", ASKED, **SAID) == "native"
    assert kernels(network) == {"native"}
    assert capsys.readouterr().err == "train: attention native (the only one for a cpu)\n"


def test_another_kernel_by_name(tiny: WanModel, capsys: pytest.CaptureFixture[str]) -> None:
    network = adapted(tiny)
    loss, gradients = step(network, tiny)
    assert choose_attention(network, "_native_math", ASKED, **SAID) == "_native_math"
    assert kernels(network) == {"_native_math"}
    again, others = step(network, tiny)
    assert again == pytest.approx(loss, rel=1e-5)
    assert 0 < relative(others, gradients) < 1e-5, "another kernel, another rounding"
    assert capsys.readouterr().err == "train: attention _native_math, as asked\n"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("flash", "flash.*not usable.*missing package"),
        ("_flash_3", "not usable"),
        ("sage", "not usable"),
        ("falsh", "no such kernel; there are flash, "),
        ("_native_cudnn", "CUDA|No available kernel|cuDNN|cudnn"),
    ],
)
def test_what_is_not_here_is_one_clear_line(tiny: WanModel, name: str, why: str) -> None:
    with pytest.raises(RecipeError, match=why) as caught:
        choose_attention(adapted(tiny), name, ASKED, **SAID)
    assert str(caught.value).startswith(f"system.attention = '{name}': ")
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*backend=.*:FutureWarning")
def test_kernels_that_context_parallelism_cannot_use(tiny: WanModel) -> None:
    parallel = Asked(1, 24, 2, 8, torch.float32, CPU, context_parallel=True)
    with pytest.raises(RecipeError, match="not with context parallelism"):
        choose_attention(adapted(tiny), "_native_math", parallel, **SAID)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Three kernels as on a GPU: the names are real, what they take is told, and one has a wrong gradient."""
    seconds = {"native": 3.0, "_native_math": 2.0, "_native_efficient": 1.0}

    def kernel(*inputs: Tensor, backend: Any) -> Tensor:
        wrong = backend.value == "_native_efficient"
        query, *others = inputs
        out = REAL(query.detach() + 0.5 * (query - query.detach()) if wrong else query, *others)
        assert isinstance(out, Tensor)
        return out

    monkeypatch.setattr(attention, "dispatch_attention_fn", kernel)
    monkeypatch.setattr(attention, "_timed", lambda name, given, device: seconds[name])
    monkeypatch.setattr(attention, "_unusable", lambda name, asked: "not here" if name.startswith("_flash") else "")
    monkeypatch.setattr(attention, "ON_CUDA", (*seconds, "_flash_3"))
    return seconds


def test_a_faster_kernel_with_a_wrong_gradient_does_not_win(told: dict[str, float]) -> None:
    trials = {trial.name: trial for trial in try_out(attention.ON_CUDA, ASKED, 0)}
    assert trials["native"].seconds == 3.0
    assert trials["_native_math"].seconds == 2.0
    assert trials["_native_efficient"].seconds is None
    assert "differs from native by" in trials["_native_efficient"].why
    assert trials["_flash_3"].why == "not here"


def test_the_fastest_that_agrees_wins_and_all_are_said(
    tiny: WanModel, told: dict[str, float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network, real = adapted(tiny), attention.try_out
    monkeypatch.setattr(attention, "try_out", lambda names, _, seed: real(names, ASKED, seed))
    assert choose_attention(network, "auto", replace(ASKED, device=torch.device("cuda")), **SAID) == "_native_math"
    assert kernels(network) == {"_native_math"}
    said = capsys.readouterr().err
    for part in ("attention _native_math, the fastest at 24 tokens", "native 3e+03 ms", "_flash_3 no (not here)"):
        assert part in said


@pytest.mark.gpu
def test_on_a_gpu_the_usable_kernels_agree(tiny: WanModel) -> None:
    asked = Asked(1, 4096, 8, 128, torch.bfloat16, torch.device("cuda"))
    trials = list(try_out(attention.ON_CUDA, asked, 0))
    usable = [trial for trial in trials if trial.seconds]
    print(*trials, sep="\n")
    assert len(usable) >= 2
    assert all(trial.difference is not None and trial.difference < 2e-2 for trial in usable)
