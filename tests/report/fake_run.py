"""A made-up run folder for the tests of the page: invented numbers, and small moving shapes instead of film."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cinetune.footage.video_io import write_video
from cinetune.recipe import Recipe, load_recipe
from cinetune.records import Clip, Result, Sample, Score, Shot, write_records

FRAMES, HEIGHT, WIDTH, FPS = 17, 64, 96, 16.0
CAPTIONS = (
    "A lighthouse on a cliff at dusk, the lamp sweeps over a rough sea",
    'A sign that reads "OPEN <24h> & more" above a shop door, rain',
    "Two figures cross a long bridge in fog, seen from the side",
    "A red balloon climbs over grey rooftops towards the evening sun",
)


def make_fake_run(
    folder: Path, *, test_clips: int = 8, train_clips: int = 12, showcase: int = 2, results: list[Result] | None = None
) -> Path:
    """Write every file a finished run has; the same arguments give the same bytes."""
    recipe = load_recipe("nano", {"validation.every": "25"})
    write_json(folder / "recipe.json", {**recipe.model_dump(mode="json"), "id": recipe.id})
    write_json(folder / "environment.json", environment())
    clips = footage(folder, test_clips, train_clips)
    training(folder, recipe)
    samples = generated(folder, [c for c in clips if c.split == "test"], showcase)
    scores = evaluated(folder, samples, fake_results(test_clips) if results is None else results)
    assert len(scores) == len(samples)
    return folder


def footage(folder: Path, test_clips: int, train_clips: int) -> list[Clip]:
    splits = ["train"] * train_clips + ["validation"] * 4 + ["test"] * test_clips
    shots, clips = [], []
    for n, split in enumerate(splits):
        shot, name = f"shot-{n // 2:03d}", f"c{n:03d}"
        start = n * FRAMES / FPS
        if n % 2 == 0:
            shots.append(Shot(shot, "harbour.mkv", "9f" * 32, start, start + 2 * FRAMES / FPS, f"scene-{n // 4}"))
        caption = CAPTIONS[n % len(CAPTIONS)]
        video = f"clips/{name}.mkv"
        clips.append(
            Clip(
                name, shot, f"scene-{n // 4}", "harbour.mkv", start, FPS, FRAMES, HEIGHT, WIDTH, caption,
                "sidecar", split, 3.2, video, f"cache/{name}.safetensors",
            )
        )  # fmt: skip
        if split != "validation":
            save(folder / "footage" / video, scene(n))
    write_records(folder / "footage" / "shots.jsonl", shots)
    write_records(folder / "footage" / "clips.jsonl", clips)
    return clips


def training(folder: Path, recipe: Recipe) -> None:
    rng = np.random.default_rng(5)
    log = [
        {
            "step": s,
            "loss": 0.42 * math.exp(-s / 90) + 0.21 + 0.06 * rng.standard_normal(),
            "lr": 1e-3,
            "seconds": 0.6,
            "sigma": (1 / (1 + np.exp(-rng.standard_normal(4)))).tolist(),
        }
        for s in range(1, 251)
    ]
    lpips = [0.322, 0.301, 0.287, 0.269, 0.258, 0.249, 0.244, 0.246, 0.2455, 0.25]
    levels = [0.454, 0.564, 0.64, 0.699, 0.75, 0.795, 0.835, 0.874, 0.915]
    base = [0.62 - 0.4 * level for level in levels]
    validations = [
        {
            "step": 25 * n, "lpips": v, "low": v - 0.03, "high": v + 0.035, "static_lpips": 0.352,
            "base_lpips": 0.331, "loss": 0.34 - 0.012 * n + 0.0009 * n**2, "best": n <= 7, "clips": 8,
            "metric": "lpips", "better": "lower", "value": v, "static": 0.352, "base": 0.331, "values": [v] * 8,
            "gained": n <= 6, "waited": max(0, n - 6), "levels": levels, "base_losses": base,
            "losses": [b * (1 - (1.2 - x) * 0.3 * (1 - math.exp(-n / 3))) for b, x in zip(base, levels, strict=True)],
            "training_loss": 0.335 - 0.013 * n + 0.0004 * n**2, "base_loss": 0.355, "base_training_loss": 0.351,
            "nearest": 0.81, "nearest_base": 0.74, "nearest_real": 0.83, "memorising": "",
        }
        for n, v in enumerate(lpips, start=1)
    ]  # fmt: skip
    write_lines(folder / "train" / "log.jsonl", log)
    write_lines(folder / "train" / "validations.jsonl", validations)
    summary = {
        "steps": 250, "best_step": 175, "stopped": "plateau", "seconds": 192.4, "parameters": 61440,
        "rank": recipe.lora.rank, "alpha": recipe.lora.alpha, "adapter": "best/pytorch_lora_weights.safetensors",
        "adapter_sha256": "3c" * 32,
        "verdict": {
            "gain": True, "difference": -0.0871, "low": -0.1102, "high": -0.0643, "level": 0.95, "metric": "lpips",
            "clips": 8,
        },
    }  # fmt: skip
    write_json(folder / "train" / "summary.json", summary)


def generated(folder: Path, clips: list[Clip], showcase: int) -> list[Sample]:
    common: dict[str, Any] = {"seed": 0, "steps": 20, "guidance": 2.0, "shift": 3.0}
    samples, shots = [], []
    for clip in clips:
        truth = scene(int(clip.id[1:]))
        for arm in ("base", "tuned", "static"):
            video = f"videos/{clip.id}-{arm}.mkv"
            save(folder / "generate" / video, imitate(truth, arm))
            adapter = "3c" * 32 if arm == "tuned" else ""
            reference = f"../footage/{clip.video}"
            samples.append(
                Sample(
                    f"{clip.id}-{arm}", arm, clip.id, clip.caption, video=video, reference=reference,
                    adapter_sha256=adapter, **common,
                )
            )  # fmt: skip
    for n in range(1, showcase + 1):
        name = f"shot-{n}"
        frames = np.concatenate([scene(90 + n), scene(90 + n)[::-1]])
        for arm in ("base", "tuned"):
            keyframe = folder / "generate" / "keyframes" / f"{name}-{arm}.png"
            keyframe.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(imitate(frames, arm)[0]).save(keyframe)
            video = f"videos/{name}-{arm}.mkv"
            save(folder / "generate" / video, imitate(frames, arm))
            adapter = "3c" * 32 if arm == "tuned" else ""
            shots.append(
                Sample(
                    f"{name}-{arm}", arm, name, CAPTIONS[n % 4], video=video, reference="",
                    adapter_sha256=adapter, **common,
                )
            )  # fmt: skip
    write_records(folder / "generate" / "samples.jsonl", samples)
    if shots:
        write_records(folder / "generate" / "shots.jsonl", shots)
    return samples


def evaluated(folder: Path, samples: list[Sample], results: list[Result]) -> list[Score]:
    levels = {"base": 0.33, "tuned": 0.25, "static": 0.35}
    scores = [
        Score("lpips", "1", s.arm, s.id, s.source, levels[s.arm] + 0.07 * math.sin(3 * i + len(s.arm)), "distance")
        for i, s in enumerate(samples)
    ]
    write_records(folder / "evaluate" / "scores.jsonl", scores)
    write_json(
        folder / "evaluate" / "results.json",
        {"meta": {"made up": True}, "results": [dataclasses.asdict(r) for r in results]},
    )
    return scores


def fake_results(n: int) -> list[Result]:
    """One improving, one improving set distance, one worse, one unclear, one that cannot be computed."""
    nano = "nano_lpips 1 (sha256 0123456789ab)"
    found = [
        *metric("lpips", "pair", "lower", n, nano, 0.331, 0.248, (0.031, 0.012), 0.0005, static=0.352),
        *metric(
            "kid",
            "set",
            "lower",
            n,
            "nano_video 1 (sha256 123456789abc)",
            0.1211,
            0.0832,
            (0.013, 0.008),
            None,
            real=0.0014,
        ),
        *metric(
            "clip_text", "video", "higher", n, "nano_clip 1 (sha256 23456789abcd)", 0.312, 0.297, (0.012, 0.005), 0.008
        ),
        *metric("flicker", "video", "neither", n, "", 2.14, 2.06, (0.3, 0.22), 0.41, static=0.0),
    ]
    reason = f"needs at least 32 videos, has {n}"
    none: dict[str, Any] = {"estimate": None, "low": None, "high": None, "reason": reason}
    blank = metric("fvd", "set", "lower", n, "nano_video 1 (sha256 123456789abc)", 0.0, 0.0, (0.0, 0.0), None)
    return found + [dataclasses.replace(r, **none) for r in blank]


def metric(
    name: str, kind: str, better: str, n: int, backbone: str, base: float, tuned: float,
    half: tuple[float, float], p_value: float | None, **more: float,
) -> list[Result]:  # fmt: skip
    """The results of one metric: an interval of +-half[0] for an arm and of +-half[1] for the difference."""

    def result(arm: str, value: float, width: float, p: float | None = None) -> Result:
        return Result(
            name, "1", arm, kind, better, value, value - width, value + width, 0.95, n, "distance", backbone, 0, p
        )

    arms = {"base": base, "tuned": tuned, **more}
    found = [result(arm, value, half[0]) for arm, value in arms.items()]
    found.append(result("tuned - base", tuned - base, half[1], p_value))
    if "static" in more:
        found.append(result("tuned - static", tuned - more["static"], half[1]))
    return found


def scene(n: int) -> np.ndarray:
    """A disc that moves over a hazy gradient, uint8 f h w 3."""
    rng = np.random.default_rng(n)
    hue, speed, radius = rng.uniform(0.2, 1.0, 3), rng.uniform(-2.0, 2.0, 2), rng.uniform(6, 15)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    ground = (0.25 + 0.6 * y / HEIGHT)[..., None] * hue + 0.04 * rng.standard_normal((HEIGHT, WIDTH, 1))
    frames = []
    for f in range(FRAMES):
        cx, cy = WIDTH / 2 + speed[0] * (f - 8) * 2, HEIGHT / 2 + speed[1] * (f - 8)
        disc = np.clip(radius - np.hypot(x - cx, y - cy), 0, 1)[..., None]
        frames.append(ground * (1 - disc) + disc * (1 - hue * 0.6))
    return (np.clip(np.stack(frames), 0, 1) * 255).astype(np.uint8)


def imitate(truth: np.ndarray, arm: str) -> np.ndarray:
    """What an arm "made" of a truth: still, washed out, or nearly right."""
    if arm == "static":
        return np.repeat(truth[:1], len(truth), axis=0)
    grey = truth.mean(axis=-1, keepdims=True)
    share = np.linspace(0, 0.75 if arm == "base" else 0.2, len(truth))[:, None, None, None]
    return (truth * (1 - share) + grey * share).astype(np.uint8)


def environment() -> dict[str, str]:
    return {
        "command": "cinetune run harbour.mkv --recipe nano --out runs/harbour",
        "cinetune": "0.1.0", "python": "3.11.2", "torch": "2.13.0+cpu", "diffusers": "0.42.1",
        "cpu": "made up, 2 cores", "gpu": "none", "git": "0" * 40, "weights nano": "7e" * 32,
    }  # fmt: skip


def save(path: Path, frames: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, FPS, lossless=True)


def write_json(path: Path, tree: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree, ensure_ascii=False), encoding="utf-8")


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
