"""Stage 2 of a run: held-out first frames continued by base and adapted model, and a few showcase shots.

Both arms get the same first frame, prompt, seed and noise levels; the third arm holds the first frame still.
A showcase shot is a keyframe (a still restyled by a few frames of the model) expanded over several windows.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from cinetune import console
from cinetune.adapters.reading import find_networks, find_weights, read_adapter
from cinetune.files import write_aside, write_text
from cinetune.footage.video_io import read_video, write_video
from cinetune.generate.network import Trained
from cinetune.generate.studio import open_studio
from cinetune.generate.window import KEYFRAME_WINDOW, Frames, Picture, Sampling, Studio, Window
from cinetune.models._condition import fit_frame
from cinetune.models._contract import VideoModel
from cinetune.models._sizes import published_size
from cinetune.ops.video import deepen, to_deep, to_shallow
from cinetune.recipe import Recipe
from cinetune.records import Clip, Sample, read_records, write_records

ARMS = ("base", "tuned")


@dataclass(frozen=True)
class Job:
    """One video to make."""

    sample: Sample
    clip: Clip
    showcase: bool


def generate(run: Path, recipe: Recipe, model: VideoModel, *, device: torch.device) -> list[Sample]:
    """Make all videos of a run that are not there yet and write generate/samples.jsonl and shots.jsonl.

    Raises:
        RecordError: the run is not prepared.
        WeightsError: it has no adapter, or the adapter does not fit the model.
    """
    folder = run / "generate"
    adapter = run / "train" / "best"
    files = find_weights(adapter)
    for file in files if not find_networks(adapter) else ():
        read_adapter(file)  # before anything large is loaded
    digest = Trained(adapter).told()
    clips = [c for c in read_records(run / "footage" / "clips.jsonl", Clip) if c.split == "test"]
    jobs = list(_plan(clips, recipe, digest))
    _forget_other_plans(folder, {"adapter": digest, "recipe": recipe.id})

    dtype = torch.float32 if recipe.train.precision == "fp32" else torch.bfloat16
    size = (recipe.footage.frames, recipe.footage.height, recipe.footage.width)
    missing = [job for job in jobs if not (folder / job.sample.video).is_file()]
    if missing:
        shape = _showcase_size(recipe) if recipe.generate.shots else size[1:]
        with console.progress("generate", len(jobs), done=len(jobs) - len(missing)) as advance:
            for arm in ("static", *ARMS):
                mine = [job for job in missing if job.sample.arm == arm]
                studio = None
                if mine and arm != "static":
                    trained = [Trained(adapter)] if arm == "tuned" else []
                    prompts = [job.sample.prompt for job in mine]
                    studio = open_studio(
                        model, trained, _sampling(recipe), size, prompts, device=device, dtype=dtype
                    )  # fmt: skip
                for job in mine:
                    _make(job, run, recipe, studio, shape)
                    advance(1)
    samples = [job.sample for job in jobs if not job.showcase]
    write_records(folder / "shots.jsonl", [job.sample for job in jobs if job.showcase])
    write_records(folder / "samples.jsonl", samples)
    console.done(f"generate: {len(samples)} videos of {len(clips)} held-out clips and {len(jobs) - len(samples)} "
                 f"showcase videos in {folder}")  # fmt: skip
    return samples


def _plan(clips: list[Clip], recipe: Recipe, digest: str) -> Iterator[Job]:
    for number, clip in enumerate(clips):
        for arm in (*ARMS, "static"):
            yield Job(
                _sample(recipe, digest, clip, f"{clip.id}-{arm}", arm, clip.id, recipe.seed + number), clip, False
            )
    stills = np.linspace(0, len(clips) - 1, min(recipe.generate.shots, len(clips))).astype(int)
    for number, index in enumerate(dict.fromkeys(stills.tolist()), start=1):
        for arm in ARMS:
            name = f"shot-{number}"
            sample = _sample(recipe, digest, clips[index], f"{name}-{arm}", arm, name, recipe.seed + 10_000 + number)
            yield Job(sample, clips[index], True)


def _sample(recipe: Recipe, digest: str, clip: Clip, name: str, arm: str, source: str, seed: int) -> Sample:
    return Sample(
        id=name,
        arm=arm,
        source=source,
        prompt=clip.caption,
        seed=seed,
        video=f"videos/{name}.mkv",
        reference=f"../footage/{clip.video}" if source == clip.id else "",
        adapter_sha256=digest if arm == "tuned" else "",
        steps=recipe.generate.steps,
        guidance=recipe.generate.guidance,
        shift=recipe.generate.shift,
    )


def _make(job: Job, run: Path, recipe: Recipe, studio: Studio | None, shape: tuple[int, int]) -> None:
    truth, fps = read_video(run / "footage" / job.clip.video)
    sample, path = job.sample, run / "generate" / job.sample.video
    if studio is None:
        video = np.repeat(truth[:1], len(truth), axis=0)
    elif job.showcase:
        still = to_deep(fit_frame(truth[0], *shape)[0][:, None])[0]
        window = Window(sample.prompt, sample.seed, KEYFRAME_WINDOW, still, seen=deepen(truth[0]))
        key = studio(window)[-1]
        _write_png(run / "generate" / "keyframes" / f"{sample.id}.png", to_shallow(key))
        video = to_shallow(expand(studio, key, sample, recipe))
    else:
        video = to_shallow(studio(Window(sample.prompt, sample.seed, recipe.footage.frames, deepen(truth[0]))))
    write_video(path, iter(video), fps, lossless=True)


def expand(studio: Studio, keyframe: Picture, sample: Sample, recipe: Recipe) -> Frames:
    """Return segments x (frames - 1) + 1 frames: each window starts from the last frame of the one before."""
    video = keyframe[None]
    for segment in range(recipe.generate.segments):
        made = studio(Window(sample.prompt, sample.seed + 1000 * segment, recipe.footage.frames, video[-1]))
        # The model's first frame is the given one through its VAE; the given one itself is already there.
        video = np.concatenate([video, made[1:]])
    return video


def _sampling(recipe: Recipe) -> Sampling:
    told = recipe.generate
    return Sampling(steps=told.steps, guidance=told.guidance, shift=told.shift, negative=told.negative)


def _showcase_size(recipe: Recipe) -> tuple[int, int]:
    """Height and width by the recipe's rule; says so when the rules differ."""
    height, width, rule = recipe.footage.height, recipe.footage.width, recipe.generate.size_rule
    published = published_size(height, width, height * width)
    if published == (height, width):
        return published
    asked = f"{height}x{width} was asked for"
    makes = f"the published rule makes {published[0]}x{published[1]}"
    console.note(f"showcase: {asked}, {makes}; taking the {rule} one (generate.size_rule)")
    return published if rule == "published" else (height, width)


def _forget_other_plans(folder: Path, plan: dict[str, str]) -> None:
    """Remove videos made with another adapter or recipe, so that none of them is mistaken for one of these."""
    path = folder / "plan.json"
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) == plan:
        return
    old = list(folder.glob("videos/*.mkv"))
    for video in old:
        video.unlink()
    if old:
        console.note(f"generate: the adapter changed; {len(old)} videos of the former one are made again")
    write_text(path, json.dumps(plan) + "\n")


def _write_png(path: Path, frame: UInt8[np.ndarray, "h w 3"]) -> None:
    with write_aside(path) as aside:
        Image.fromarray(frame).save(aside, format="PNG")
