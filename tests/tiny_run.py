"""A run folder prepared by hand: random latents and short videos, so that a training step takes milliseconds."""

import json
from pathlib import Path

import numpy as np
import torch

from cinetune.files import sha256
from cinetune.footage.cache import encode_clip, encode_empty, write_cache
from cinetune.footage.procedural import render_clip
from cinetune.footage.video_io import write_video
from cinetune.models._wan import WanModel
from cinetune.recipe import Recipe, load_recipe
from cinetune.records import Clip, write_records
from cinetune.runs import describe_environment

SPLITS = ("train",) * 6 + ("validation",) * 2 + ("test",) * 3


def tiny_recipe(model: WanModel, **changes: str) -> Recipe:
    """Return the nano recipe cut down to a few steps."""
    base = {
        "model": json.dumps(model.source), "train.steps": "8", "train.batch": "2", "train.accumulation": "2",
        "train.save_every": "2", "validation.every": "4", "validation.clips": "2", "validation.steps": "2",
        "generate.steps": "2", "generate.shots": "1", "footage.frames": "5", "footage.height": "32",
        "footage.width": "48", "train.image_dropout": "0.2",
    }  # fmt: skip
    return load_recipe("nano", {**base, **{key.replace("__", "."): value for key, value in changes.items()}})


def label(footage: Path, clip: Clip) -> dict[str, str]:
    """Return what the trainer looks at in the label of a clip's cache file."""
    return {"clip": clip.id, "caption": clip.caption, "video_sha256": sha256(footage / clip.video)}


def prepare_tiny(run: Path, model: WanModel, recipe: Recipe) -> Path:
    """Write footage/ as `prepare` would, from rendered clips."""
    size = recipe.footage
    encoders = model.load_encoders(torch.device("cpu"))
    clips = []
    for number, split in enumerate(SPLITS):
        shown = render_clip(
            "historical", seed=number, frames=size.frames, height=size.height, width=size.width, fps=size.fps
        )
        name = f"clip-{number}"
        clips.append(
            Clip(
                id=name, shot=f"shot-{number}", scene=f"scene-{number}", film="film.mp4", start=0.0, fps=size.fps,
                frames=size.frames, height=size.height, width=size.width, caption=shown.caption,
                caption_source="sidecar", split=split, motion=1.0, video=f"clips/{name}.mkv",
                cache=f"cache/{name}.safetensors",
            )
        )  # fmt: skip
        write_video(run / "footage" / clips[-1].video, iter(np.asarray(shown.frames)), size.fps, lossless=True)
        write_cache(
            run / "footage" / clips[-1].cache,
            encode_clip(encoders, shown.frames, shown.caption),
            label(run / "footage", clips[-1]),
        )
    write_cache(run / "footage" / "cache" / "empty.safetensors", encode_empty(encoders), {})
    write_records(run / "footage" / "clips.jsonl", clips)
    tree = {"id": recipe.id, **recipe.model_dump(mode="json")}
    (run / "recipe.json").write_text(json.dumps(tree), encoding="utf-8")
    (run / "films.json").write_text("{}", encoding="utf-8")
    (run / "environment.json").write_text(json.dumps(describe_environment("cpu", ["test"])), encoding="utf-8")
    return run
