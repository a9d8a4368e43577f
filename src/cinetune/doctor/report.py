"""A diagnosis on the terminal: what was asked, what it costs, and whether it fits."""

import platform
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.table import Table

from cinetune.doctor.estimate import Peak, Step

if TYPE_CHECKING:
    from cinetune.doctor.doctor import Diagnosis, OnGpu
    from cinetune.doctor.measure import Measured

BAR = 40
"""Characters of the longest bar."""


def machine() -> dict[str, str]:
    """Return versions and processor of this machine."""
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none found"
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "not in this build of torch",
        "gpu": gpu,
    }


def show(diagnosis: "Diagnosis", console: Console) -> None:
    """Print a diagnosis; what is said of memory and time is an estimate, and says so."""
    _facts(diagnosis, console)
    if diagnosis.found:
        answer = diagnosis.gpus[0]
        _times(answer, diagnosis, console)
        for work, fits, peak, advice in (
            ("train", answer.train_fits, diagnosis.train, answer.train_advice),
            ("generate", answer.generate_fits, diagnosis.generate, answer.generate_advice),
        ):
            verdict = "FITS" if fits else "DOES NOT FIT"
            line = f"{work}: {verdict} {answer.gpu.name}, {gib(peak.total)} of {answer.gpu.memory:.1f} GiB"
            console.print(f"\n{line} ({peak.moment})", style="green" if fits else "red", markup=False, highlight=False)
            _terms(peak, console)
            if not fits:
                _advice(advice, answer.gpu.memory, console)
    else:
        console.print("\nno CUDA GPU here and none named with --gpu; on these it would be", highlight=False)
        _table(diagnosis, console)
    if diagnosis.measured:
        _measured(diagnosis.measured, console)
    if diagnosis.claim:
        console.print(f"\nclaim: {diagnosis.claim.text}", markup=False, highlight=False)
    console.print("\nmemory and times are estimates; docs: will-it-fit", style="dim", highlight=False)


def gib(size: float) -> str:
    """Return bytes as GiB."""
    return f"{size / 2**30:.1f} GiB"


def _bytes(size: int) -> str:
    """Bytes as GiB, or those of a miniature as MiB."""
    return gib(size) if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def seconds(value: float | None) -> str:
    """Return seconds in words, or "-" where the peak is not known."""
    if value is None:
        return "-"
    if value < 10:
        return f"{value:.2g} s"
    return f"{value:.0f} s" if value < 600 else f"{value / 60:.0f} min"


def _facts(diagnosis: "Diagnosis", console: Console) -> None:
    model, plan, here = diagnosis.model, diagnosis.plan, machine()
    what = "all weights" if plan.layers is None else f"{len(plan.layers)} layers, rank {plan.rank}"
    half, whole = 2 * model.parameters, 4 * (model.parameters + sum(model.encoders.values()))
    disk = f"{gib(model.on_disk)} of weights here" if model.on_disk else f"weights take {gib(half)} to {gib(whole)}"
    rows = (
        ("machine", f"python {here['python']}, torch {here['torch']}, CUDA {here['cuda']}, GPU {here['gpu']}"),
        ("disk", f"{gib(model.free_disk)} free, {disk}"),
        ("model", f"{model.name}: {model.parameters:,} parameters, {diagnosis.trainable:,} trainable ({what})"),
        ("video", f"{plan.frames} frames of {plan.width}x{plan.height}: {diagnosis.tokens:,} tokens"),
        ("forward", f"{_flop(diagnosis.forward)}"),
        ("training step", f"{_flop(diagnosis.step.model)} needed, {_flop(diagnosis.step.hardware)} carried out, "
                          f"batch {plan.batch}, checkpointing {'on' if plan.checkpointing else 'off'}"),
        ("one video", f"{_flop(diagnosis.video)}, {diagnosis.steps} steps, guidance {diagnosis.guidance:g}"),
        *([("VAE", f"{_flop(diagnosis.vae.encode_flops)} to encode, {_flop(diagnosis.vae.decode_flops)} to decode")]
          if diagnosis.vae else []),
        *(("assumed", text) for text in model.assumed),
    )  # fmt: skip
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, text in rows:
        table.add_row(name, text)
    console.print(table, markup=False, highlight=False)


def _times(answer: "OnGpu", diagnosis: "Diagnosis", console: Console) -> None:
    gpu = answer.gpu
    speed = "peak not known" if gpu.tflops is None else f"{gpu.tflops:g} TFLOP/s dense bf16"
    console.print(f"\n{gpu.name}: {gpu.memory:.1f} GiB, {speed} ({gpu.source})", markup=False, highlight=False)
    for name, floor, expected in (
        ("training step", answer.step_floor, answer.step_expected),
        ("one video", answer.video_floor, answer.video_expected),
    ):
        text = f"{name}: at least {seconds(floor)}, expected {seconds(expected)}"
        console.print(f"{text} at {diagnosis.share:.0%} of the peak ({diagnosis.share_from})",
                      markup=False, highlight=False)  # fmt: skip


def _terms(peak: Peak, console: Console) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    largest = max(peak.terms.values())
    for name, size in sorted(peak.terms.items(), key=lambda term: -term[1]):
        table.add_row(f"  {name}", gib(size), "#" * round(BAR * size / largest))
    for name, size in peak.others.items():
        table.add_row(f"  ({name}", f"{gib(size)})", "")
    console.print(table, markup=False, highlight=False)


def _advice(advice: list[Step], memory: float, console: Console) -> None:
    for step in advice:
        mark = "fits" if step.peak.fits(memory) else "not yet"
        console.print(f"  + {step.name}: {gib(step.peak.total)} ({step.peak.moment}), {mark}",
                      markup=False, highlight=False)  # fmt: skip
    if not advice or not advice[-1].peak.fits(memory):
        console.print("  nothing here makes it fit; take fewer frames, a smaller picture or more GPUs",
                      markup=False, highlight=False)  # fmt: skip


def _table(diagnosis: "Diagnosis", console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("GPU")
    for column in ("GiB", "train", "step", "generate", "video"):
        table.add_column(column, justify="right")
    for answer in diagnosis.gpus:
        table.add_row(
            answer.gpu.name,
            f"{answer.gpu.memory:.0f}",
            _verdict(answer.train_fits, answer.train_advice, answer.gpu.memory),
            seconds(answer.step_expected),
            _verdict(answer.generate_fits, answer.generate_advice, answer.gpu.memory),
            seconds(answer.video_expected),
        )
    console.print(table, markup=False, highlight=False)
    peaks = f"train {gib(diagnosis.train.total)}, generate {gib(diagnosis.generate.total)}"
    console.print(f"peaks: {peaks}; times at {diagnosis.share:.0%} of the peak; name a GPU to see what to switch on",
                  markup=False, highlight=False)  # fmt: skip


def _verdict(fits: bool, advice: list[Step], memory: float) -> str:
    if fits:
        return "fits"
    reached = bool(advice) and advice[-1].peak.fits(memory)
    return f"with {len(advice)} changes" if reached else "does not fit"


def _measured(measured: "Measured", console: Console) -> None:
    """What was measured beside what was expected."""
    what = f"{measured.weights} weights, built in {measured.build_seconds:.1f} s"
    console.print(f"\nmeasured on {measured.device}: {what}", markup=False, highlight=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for column in ("measured", "expected", "ratio", "TFLOP/s", "of the peak"):
        table.add_column(column, justify="right")
    table.add_row("weights", _bytes(measured.network), _bytes(measured.network_expected),
                  f"{measured.network / measured.network_expected:.2f}")  # fmt: skip
    for name, work in (("forward pass", measured.forward), ("training step", measured.step)):
        ratios = {key: "-" if ratio is None else f"{ratio:.2f}" for key, ratio in work.ratios().items()}
        share = "-" if work.share is None else f"{work.share:.0%}"
        table.add_row(name, f"{work.seconds:.3g} s", seconds(work.seconds_expected), ratios["seconds"],
                      f"{work.tflops:.3g}", share)  # fmt: skip
        table.add_row("  tensors", _bytes(work.tensors), _bytes(work.tensors_expected), ratios["tensors"])
        if work.in_use is not None:
            table.add_row("  GPU memory in use", _bytes(work.in_use), _bytes(work.in_use_expected), ratios["in_use"])
    console.print(table, markup=False, highlight=False)
    if measured.resident is not None:
        text = f"peak resident memory of the whole process, libraries included: {_bytes(measured.resident)}"
        console.print(text, markup=False, highlight=False)
    console.print("the step is expected at the rate of the forward pass", style="dim", highlight=False)


def _flop(count: int) -> str:
    return f"{count / 1e15:.4g} PFLOP" if count >= 1e15 else f"{count / 1e12:.4g} TFLOP"
