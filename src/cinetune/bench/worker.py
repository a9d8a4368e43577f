"""One of the processes that share a window; `processes.run_processes` starts it through torchrun."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from cinetune import console
from cinetune.bench.plan import Size
from cinetune.bench.quality import starts
from cinetune.devices import wait
from cinetune.errors import CinetuneError
from cinetune.files import write_text
from cinetune.generate.parallel.degrees import Degrees
from cinetune.generate.parallel.team import Team, together
from cinetune.generate.studio import open_studio
from cinetune.generate.window import Sampling, Window
from cinetune.models._resolve import find_model


def main(asked: dict[str, Any], out: Path) -> None:
    """Make the same window some times, and let the first process write how long each took.

    With guidance two halves compute the two velocities; otherwise, and within each half, processes share the tokens.

    Raises:
        RecipeError: this many processes cannot share this window.
        WeightsError: weights missing or damaged.
    """
    size, device = Size(*asked["size"]), torch.device(asked["device"])
    (start,) = starts(1, size, None)
    with together(device) as process:
        halves = 2 if asked["guidance"] > 1 and process.world % 2 == 0 else 1
        degrees = Degrees(guidance=halves, ulysses=process.world // halves)
        team = Team(process, degrees)
        if not team.main:
            console.hush()
        studio = open_studio(
            find_model(asked["model"]), [], Sampling(asked["steps"], asked["guidance"], asked["shift"]), size,
            [start.prompt], device=process.device, sharing=team,
            dtype=torch.float32 if asked["precision"] == "fp32" else torch.bfloat16,
        )  # fmt: skip
        window = Window(start.prompt, asked["seed"], size.frames, start.still)
        studio(window)  # kernels are chosen
        seconds = []
        for _ in range(asked["repeats"]):
            team.wait()
            began = time.perf_counter()
            studio(window)
            wait(process.device)
            seconds.append(time.perf_counter() - began)
        if team.main:
            write_text(out, json.dumps({"shared": _told(degrees), "seconds": seconds}) + "\n")


def _told(degrees: Degrees) -> str:
    """The degrees that are above 1."""
    told = {"guidance": degrees.guidance, "ulysses": degrees.ulysses}
    return " ".join(f"{name}={degree}" for name, degree in told.items() if degree > 1) or "one alone"


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]), Path(sys.argv[2]))
    except CinetuneError as error:
        console.error(f"cinetune: {' '.join(str(error).split())}")
        sys.exit(2)
