"""How a film is to be made: what the command line says, and what follows where it says nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from cinetune import console
from cinetune.adapters.style import find_style, run_of
from cinetune.errors import RecipeError
from cinetune.generate.network import Trained
from cinetune.generate.parallel.degrees import Degrees
from cinetune.generate.parallel.planner import Work, check
from cinetune.generate.parallel.planner import plan as plan_degrees
from cinetune.generate.parallel.team import Process
from cinetune.generate.plan import FilmPlan
from cinetune.models._contract import VideoModel
from cinetune.models._headers import read_json
from cinetune.ops.flops import CLIP_TOKENS, Shape, read_sizes
from cinetune.recipe import Evaluate
from cinetune.runs import load_run

BESIDE = 4 * 2**30
"""Bytes of a GPU that are not the network's: VAE and image encoder in fp32, and what CUDA takes for itself."""
PRECISIONS: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Wishes:
    """How the work is done."""

    speed: str = "exact"
    """A preset of levers (`studio.SPEEDS`)."""
    levers: tuple[str, ...] = ()
    candidates: int = 4
    """For each keyframe that is made."""
    choose: str = ""
    """"ask", or SHOT=NUMBER,...; "" takes what choice.toml says, else the best by the scores."""
    formats: tuple[str, ...] = ("h264",)
    parallel: str = "auto"
    precision: str = "auto"
    """auto: bf16 on a GPU, fp32 elsewhere; the miniature is trained in fp32."""
    weights: str = "auto"
    """nano or published: of the networks that keyframes are ranked and shots compared through. auto: as the run of the
    first adapter; without one nano's own for nano, else the published ones."""
    asks: bool = False
    """Somebody sits at a terminal."""


def model_of(trained: Sequence[Trained]) -> str:
    """Return the model that the first adapter was trained on, as its run or its card says.

    Raises:
        RecipeError: nothing says it.
    """
    for one in trained:
        run = run_of(one.source)
        name = load_run(run).model if run is not None else find_style(one.source).base
        if name:
            return name
    why = "the adapter does not say what it was trained on" if trained else "there is no adapter to say it"
    raise RecipeError(f"--model: give nano, wan, a diffusers folder or a hub id; {why}")


def precision_of(wanted: str, device: torch.device) -> str:
    """Return "fp32" or "bf16".

    Raises:
        RecipeError: no such precision.
    """
    precision = wanted if wanted != "auto" else ("bf16" if device.type == "cuda" else "fp32")
    if precision not in PRECISIONS:
        raise RecipeError(f"--precision {precision}: choose auto, fp32 or bf16")
    return precision


def networks_of(weights: str, trained: Sequence[Trained], model: VideoModel) -> Evaluate:
    """Return what keyframes and shots are looked at with.

    Raises:
        RecipeError: no such weights.
    """
    runs = [run for run in (run_of(one.source) for one in trained) if run is not None]
    if weights == "auto" and runs:
        return load_run(runs[0]).evaluate
    if weights == "auto":
        weights = "nano" if model.name == "nano" else "published"
    if weights not in ("nano", "published"):
        raise RecipeError(f"--weights {weights}: choose auto, nano or published")
    return Evaluate.model_validate({"weights": weights})


def degrees_of(wanted: str, plan: FilmPlan, model: VideoModel, process: Process, precision: str) -> Degrees:
    """Return how the processes share the work: as asked, or the fastest way that fits, which is said.

    Raises:
        RecipeError: another number of processes, or the work cannot be shared so.
    """
    any_model: Any = model
    facts, (_, height, width) = any_model.facts, plan.size
    shapes = tuple(
        Shape(frames, height, width, spatial=facts.spatial, image_tokens=CLIP_TOKENS if facts.image_tokens else 0,
              time_per_token=facts.kind == "ti2v")
        for frames in sorted(plan.lengths)
    )  # fmt: skip
    gpu = process.device.type == "cuda"
    memory = torch.cuda.mem_get_info(process.device)[0] - BESIDE if gpu else None
    sizes = read_sizes(read_json(any_model.folder / "transformer" / "config.json"), "the network")
    chains = tuple(float(sum(span.frames for one in row for span in one.spans)) for row in plan.chains)
    work = Work(
        sizes, shapes, chains, plan.sampling.guidance > 1, "fp32" if precision == "fp32" else "bf16",
        experts=1 if facts.boundary is None else 2, memory=memory,
    )  # fmt: skip
    if wanted != "auto":
        degrees = Degrees.parse(wanted, process.world)
        check(degrees, work)
        return degrees
    chosen = plan_degrees(process.world, work)
    if process.world > 1:
        console.note(f"generate: {chosen.told} (--parallel {chosen.degrees})")
    return chosen.degrees
