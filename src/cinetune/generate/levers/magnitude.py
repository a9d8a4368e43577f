"""Blocks left out at steps where what they add is known beforehand to be near what they added before.

What all blocks add to their input shrinks slowly from step to step, by ratios that hang on the model and the noise
levels and hardly on the video. Over steps that are left out, the product of ratios tells how far off the last change
would be by now.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import torch
from diffusers.hooks.hooks import CacheContext
from torch import Tensor, nn

from cinetune.errors import RecipeError
from cinetune.files import sha256
from cinetune.generate.guidance import Answer
from cinetune.generate.levers._contract import Lever, Opening, Order, number
from cinetune.generate.levers._ratios import FILE, Ratios, published, read_ratios
from cinetune.generate.levers._reuse import reuse
from cinetune.generate.window import Rig, Studio, Window
from cinetune.models._velocity import STEPS, parts

MOST = 2
"""Steps left out in a row, at most."""
FIRST = 0.2
"""Share of the steps, the first of a video, that are never left out."""


class Gone(NamedTuple):
    """What a video's steps have come to, of one prompt."""

    seen: int = 0
    ratio: float = 1.0
    """Of the change now to the change that is kept."""
    error: float = 0.0
    """Sum of |1 - ratio| over the steps left out."""
    out: int = 0
    """Steps left out in a row."""


def follow(gone: Gone, ratio: float, steps: int, threshold: float) -> tuple[bool, Gone]:
    """Return whether to leave the blocks out at the next step, and what has come of it.

    Source: Zehong-Ma/MagCache MagCache4Wan2.1/magcache_generate.py; diffusers 0.42 hooks/mag_cache.py.
    """
    seen = gone.seen + 1
    if gone.seen < int(FIRST * steps + 0.5):
        return False, Gone(seen)
    now = gone.ratio * ratio
    later = Gone(seen, now, gone.error + abs(1 - now), gone.out + 1)
    near = later.error <= threshold and later.out <= MOST
    return near, later if near else Gone(seen)


def calibrate(studio: Studio, windows: Sequence[Window], advance: Callable[[], object] = int) -> Ratios:
    """Measure the ratios of a studio's network at its own noise levels: the mean over tokens and windows.

    Raises:
        RecipeError: no windows, or a studio whose blocks are left out at some steps.
    """
    rig = studio.rig
    if rig.caching or not windows:
        raise RecipeError("calibrate wants a studio without caches, and at least one window")
    rows: dict[str, list[list[float]]] = {"prompt": [], "negative": []}
    before: dict[str, Tensor] = {}
    whose, given, usual = ["prompt"], list[Tensor](), rig.both

    def begun(block: nn.Module, inputs: Any) -> None:
        given[:] = inputs[:1]

    def ended(block: nn.Module, inputs: Any, out: Tensor) -> None:
        size = (out - given.pop()).float().norm(dim=-1)
        last = before.get(whose[0])
        rows[whose[0]][-1].append(1.0 if last is None else float((size / last.clamp(min=1e-8)).mean()))
        before[whose[0]] = size

    def both(prompt: Answer, negative: Answer) -> tuple[Tensor, Tensor]:
        first = prompt()
        whose[0] = "negative"
        second = negative()
        whose[0] = "prompt"
        return first, second

    blocks: list[Any] = [part.blocks for part in parts(rig.network)]
    hooks = [row[0].register_forward_pre_hook(begun) for row in blocks]
    hooks += [row[-1].register_forward_hook(ended) for row in blocks]
    rig.both = both
    try:
        for window in windows:
            before.clear()
            for row in rows.values():
                row.append([])
            studio.latents(window)
            advance()
    finally:
        rig.both = usual
        for hook in hooks:
            hook.remove()
    means = {name: tuple(round(mean(step), 5) for step in zip(*row, strict=True)) for name, row in rows.items()}
    frames, height, width = rig.size
    return Ratios(
        model=rig.model.name, steps=rig.sampling.steps, shift=rig.sampling.shift, guidance=rig.sampling.guidance,
        prompt=means["prompt"], negative=means["negative"] or None,
        source=f"cinetune, {len(windows)} windows of {frames} frames of {height}x{width}",
    )  # fmt: skip


def _read(rig: Rig, value: str) -> Ratios | None:
    """The ratios of the file that was given, those in the model's folder, or the published ones."""
    any_model: Any = rig.model
    _, _, file = value.partition(":")
    if file:
        return read_ratios(Path(file))
    beside = any_model.folder / FILE
    return read_ratios(beside) if beside.is_file() else published(any_model.source)


def _open(opening: Opening, value: str) -> None:
    threshold, _, file = value.partition(":")
    number("magnitude", threshold, 0, 1)
    if file:
        read_ratios(Path(file))


def _told(value: str) -> str:
    threshold, _, file = value.partition(":")
    return f"{threshold}:{sha256(Path(file))}" if Path(file).is_file() else value


def _obstacle(rig: Rig, value: str) -> str:
    ratios, wanted = _read(rig, value), rig.sampling
    here = f"{wanted.steps} steps at shift {wanted.shift:g}"
    measure = "measure them with `cinetune bench ratios` and give magnitude=THRESHOLD:FILE"
    if ratios is None:
        return f"no ratios are known of {rig.model.name}; {measure}"
    if (ratios.steps, ratios.shift) != (wanted.steps, wanted.shift):
        return f"its ratios are of {ratios.steps} steps at shift {ratios.shift:g}, and this is {here}; {measure}"
    if ratios.negative is None and wanted.guidance > 1:
        return f"its ratios were measured without guidance; {measure}"
    return ""


def _apply(rig: Rig, value: str) -> str:
    ratios, threshold = _read(rig, value), float(value.partition(":")[0])
    assert ratios is not None  # or it would have been the obstacle
    rows = {"cond": ratios.prompt, "uncond": ratios.negative or ()}
    levels = torch.as_tensor(rig.schedule(0).timesteps).double().cpu() / STEPS

    def decide(gone: Gone | None, given: Tensor, context: CacheContext) -> tuple[bool, Gone]:
        step = int((levels - context.sigma).abs().argmin())  # not counted: a video may begin further down
        return follow(gone or Gone(), rows[context.name][step], ratios.steps, threshold)

    reuse(rig.network, decide, peek=False)
    rig.caching = True
    return f"ratios of {ratios.model} ({ratios.source})"


LEVER = Lever(
    name="magnitude",
    does=f"Leaves all blocks out at up to {MOST} steps in a row, while measured ratios say that they would add nearly "
    "what they last added.",
    changes="content",
    order=Order.CACHE,
    source="Ma et al. 2025 (MagCache, arXiv 2506.09045); threshold: default of diffusers 0.42 hooks/mag_cache.py",
    value="0.06",
    means="the largest sum of distances of the ratio from 1, 0..1; or THRESHOLD:FILE of `cinetune bench ratios`",
    open=_open,
    told=_told,
    obstacle=_obstacle,
    apply=_apply,
)
