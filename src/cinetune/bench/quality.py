"""What each lever costs in quality and gives in speed: the same windows made with it and without, compared."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel

from cinetune import console, plugins
from cinetune.adapters.lora import FILE_NAME
from cinetune.adapters.writing import write_adapter
from cinetune.bench.journal import Journal
from cinetune.bench.machine import forget_compiled, timed
from cinetune.bench.plan import Plan, Size
from cinetune.bench.subjects import draw_adapter
from cinetune.errors import CinetuneError, RecipeError
from cinetune.footage.procedural import BASE_WORLD, render_clip
from cinetune.generate.network import Trained
from cinetune.generate.pictures import fit_still
from cinetune.generate.studio import KIND, SPEEDS, choose, open_studio
from cinetune.generate.window import Frames, Picture, Sampling, Studio, Window
from cinetune.metrics._contract import Item
from cinetune.metrics.backbones._resolve import resolve
from cinetune.models._checking import read_config
from cinetune.models._contract import VideoModel
from cinetune.ops.flops import read_sizes
from cinetune.ops.video import deepen, to_shallow

HELD_OUT_SEED = 9_500_000
"""The miniature's training drew its seeds from far below this one."""
METRICS = ("lpips", "psnr", "clip_text", "clip_frames", "flicker")
"""The first two of lever against exact; the others as lever minus exact."""
RANK = 8
"""Of the random adapter that stands where none was given."""


@dataclass(frozen=True)
class Start:
    """What a window begins with."""

    still: Picture
    prompt: str


def all_levers() -> tuple[str, ...]:
    """Return every lever of the package, and every preset with a colon before it; ":exact" shows what noise makes."""
    return (*plugins.names(KIND), *(f":{name}" for name in SPEEDS))


def starts(count: int, size: Size, folder: Path | None) -> list[Start]:
    """Return what windows begin with: pictures of a folder with their prompts, or frames of held-out rendered films.

    Raises:
        RecipeError: fewer pictures than windows, or one without its prompt.
        FootageError: a picture that cannot be read.
    """
    if folder is None:
        clips = [
            render_clip(BASE_WORLD[n % len(BASE_WORLD)], seed=HELD_OUT_SEED + n, frames=1, height=size.height,
                        width=size.width)
            for n in range(count)
        ]  # fmt: skip
        return [Start(deepen(clip.frames[0]), clip.caption) for clip in clips]
    prompts = sorted(folder.glob("*.txt"))
    if len(prompts) < count:
        raise RecipeError(f"--stills {folder}: {len(prompts)} prompts (NAME.txt beside NAME.png) for {count} windows; "
                          "add some, or give --windows")  # fmt: skip
    found = []
    for prompt in prompts[:count]:
        pictures = [path for path in sorted(folder.glob(f"{prompt.stem}.*")) if path != prompt]
        if not pictures:
            raise RecipeError(f"{prompt}: no picture of this name beside it")
        text = prompt.read_text(encoding="utf-8").strip()
        found.append(Start(fit_still(pictures[0], size.height, size.width), text))
    return found


class Comparer:
    """Metrics with their networks loaded."""

    def __init__(self, weights: str, device: torch.device) -> None:
        """Load them.

        Raises:
            WeightsError: weights missing, or the hub cannot be reached.
        """
        self.metrics = {name: plugins.load("metrics", name) for name in METRICS}
        roles = {metric.look.backbone for metric in self.metrics.values() if metric.look.backbone}
        self.eyes: dict[str | None, Any] = {role: resolve(role, weights, {}, device) for role in sorted(roles)}
        self.backbones = sorted(str(eye.identity) for eye in self.eyes.values())
        self.eyes[None] = None

    def __call__(self, made: Frames, exact: Frames, prompt: str) -> dict[str, float | None]:
        """Return by metric: lever against exact, or lever minus exact. psnr is None where all frames are equal."""
        ours, true = to_shallow(made), to_shallow(exact)
        answer: dict[str, float | None] = {}
        for name, metric in self.metrics.items():
            value = self._score(metric, Item(ours, true, prompt))
            if metric.kind == "video":
                before = self._score(metric, Item(true, None, prompt))
                value = None if value is None or before is None else value - before
            answer[name] = value
        return answer

    def _score(self, metric: Any, item: Item) -> float | None:
        value: float | None = metric.score(metric.look.features(item, self.eyes[metric.look.backbone])).value
        return value


def run_levers(
    plan: Plan, model: VideoModel, journal: Journal, out: Path, *, adapter: Path | None, stills: Path | None,
    device: torch.device, dtype: torch.dtype,
) -> None:  # fmt: skip
    """Make every window with every lever and beside it without, in turns, and write down how they differ.

    Two networks are in memory at a time. A lever that cannot be used here is written down with the reason.

    Raises:
        RecipeError: no such lever, or too few stills.
        WeightsError: weights missing, damaged or of another model.
    """
    done = {(line["lever"], line["window"]) for line in journal.of("window")}
    refused = {line["lever"] for line in journal.of("no lever")}
    missing = {
        lever: [n for n in range(plan.windows) if (lever, n) not in done]
        for lever in plan.levers
        if lever not in refused
    }
    total = sum(map(len, missing.values()))
    if not total:
        return
    size = plan.sizes[-1]
    begun = starts(plan.windows, size, stills)
    comparer = Comparer(plan.weights, device)
    trained = [Trained(adapter or _random_adapter(plan, model, out))]

    def studio(lever: str) -> Studio:
        pulls = choose(lever[1:], []) if lever.startswith(":") else choose("exact", lever.split("+"))
        sampling = Sampling(plan.steps, plan.guidance, plan.shift)
        prompts = [start.prompt for start in begun]
        return open_studio(model, trained, sampling, size, prompts, device=device, dtype=dtype, pulls=pulls)

    windows = [Window(start.prompt, plan.seed + n, size.frames, start.still) for n, start in enumerate(begun)]
    exact = _Timed(studio(":exact"), device)
    exact(windows[0])  # kernels are chosen
    if not journal.of("looked through"):
        journal.add("looked through", backbones=comparer.backbones, size=str(size))
    with console.progress("bench: levers", total) as advance:
        for lever, numbers in missing.items():
            if not numbers:
                continue
            forget_compiled()
            try:
                with_lever = _Timed(studio(lever), device)
                for n in {numbers[0], numbers[-1]}:  # compiled for one length of caption, then for any
                    with_lever(windows[n])
            except CinetuneError as error:
                journal.add("no lever", lever=lever, reason=str(error))
                advance(len(numbers))
                continue
            for n in numbers:
                if n % 2:  # now the one first, now the other
                    (true, before), (made, after) = exact(windows[n]), with_lever(windows[n])
                else:
                    (made, after), (true, before) = with_lever(windows[n]), exact(windows[n])
                journal.add(
                    "window", lever=lever, window=n, sha256=_digest(true), same=bool((made == true).all()),
                    exact=before, seconds=after, scores=comparer(made, true, begun[n].prompt),
                )  # fmt: skip
                advance(1)


class _Timed:
    """A studio by the clock."""

    def __init__(self, studio: Studio, device: torch.device) -> None:
        self.studio, self.device = studio, device

    def __call__(self, window: Window) -> tuple[Frames, tuple[float, float]]:
        """Return the frames, and seconds by the wall and of CPU time."""
        frames: list[Frames] = []
        seconds = timed(lambda: frames.append(self.studio(window)), self.device, 1)
        return frames[0], seconds


def _random_adapter(plan: Plan, model: VideoModel, out: Path) -> Path:
    """Write a random adapter of this model, without which merging would have nothing to merge."""
    path = out / "random-adapter" / FILE_NAME
    if not path.is_file():
        any_model: Any = model
        config = read_config(WanTransformer3DModel, any_model.folder / "transformer")
        drawn = draw_adapter(read_sizes(config, plan.model), plan.targets, RANK, plan.seed, torch.device("cpu"))
        write_adapter(path, drawn, "diffusers")
        console.note(f"bench: no --adapter, so levers are measured with a random one of rank {RANK}: {path}")
    return path


def _digest(frames: Frames) -> str:
    return hashlib.sha256(frames.tobytes()).hexdigest()[:16]
