"""Prints the tables of docs/will-it-fit.md: `python tests/doctor/fit_table.py`. A test keeps the page equal to it."""

import io
import json
import sys
import tempfile
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from cinetune.doctor.doctor import Diagnosis, OnGpu, doctor
from cinetune.doctor.estimate import Peak, Step
from cinetune.doctor.report import seconds
from ops.wan_configs import I2V_14B

SHAPES = ((33, 480, 832), (81, 480, 832), (81, 720, 1280))
NAMES = ("RTX-4090", "L40S", "H100-SXM", "H200")
SHORT = {
    "text and image encoder off the GPU once all is encoded": "encoders freed",
    "VAE decoding in tiles": "VAE tiles",
    "linear layers of the base stored in fp8": "fp8 base",
    "group offload: blocks wait in host memory": "group offload",
}


def ask(frames: int, height: int, width: int, gpu: str) -> Diagnosis:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"
        config.write_text(json.dumps(I2V_14B), encoding="utf-8")
        silent = Console(file=io.StringIO())
        return doctor(str(config), gpu=gpu, frames=frames, height=height, width=width, console=silent)


def cell(fits: bool, advice: list[Step], memory: float) -> str:
    if fits:
        return "fits"
    changes = ", ".join(SHORT.get(step.name, step.name) for step in advice)
    last = advice[-1].peak if advice else None
    if last is None or not last.fits(memory):
        return "does not fit"
    return f"{changes}: {gib(last)}"


def gib(peak: Peak) -> str:
    return f"{peak.total / 2**30:.1f}"


def rows() -> list[str]:
    lines = []
    for size in SHAPES:
        answers = [ask(*size, name) for name in NAMES]
        first = answers[0]
        lines += [
            "",
            f"**{size[0]} frames of {size[2]}x{size[1]}** ({first.tokens:,} tokens, forward {first.forward / 1e15:.3f} "
            f"PFLOP): training needs {gib(first.train)} GiB at the worst moment ({first.train.moment}; the step itself "
            f"{step(first):.1f}), generating {gib(first.generate)} GiB ({first.generate.moment}).",
            "",
            "| GPU | training fits with | step | generating fits with | video |",
            "|---|---|---|---|---|",
        ]
        for answer in answers:
            one: OnGpu = answer.gpus[0]
            train = cell(one.train_fits, one.train_advice, one.gpu.memory)
            generate = cell(one.generate_fits, one.generate_advice, one.gpu.memory)
            times = seconds(one.step_expected), seconds(one.video_expected)
            lines.append(
                f"| {one.gpu.name}, {one.gpu.memory:.1f} GiB | {train} | {times[0]} | {generate} | {times[1]} |"
            )
    return lines[1:]


def step(diagnosis: Diagnosis) -> float:
    """GiB of the training step, whichever moment is the worst."""
    peak = diagnosis.train
    size = peak.total if peak.moment == "training step" else peak.others["training step"]
    return size / 2**30


if __name__ == "__main__":
    print("\n".join(rows()))
