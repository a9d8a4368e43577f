"""A made-up evaluation folder for the tests of its page: invented numbers, small real videos of every kind."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
from fake_run import imitate, save, scene
from PIL import Image

from cinetune.footage.video_io import write_video
from cinetune.records import Evaluated, Result, Score, write_records

FPS = 16.0
CAPTIONS = ("A lighthouse at dusk, the lamp sweeps over a rough sea", '<b onload="alert(1)">HTML</b> & "quotes"')
ARMS = ("tuned", "base", "static")
NANO = "nano_lpips 1 (sha256 0123456789ab)"
SHA = "0123456789ab" + "c" * 52
LEVELS = {"lpips": (0.25, 0.33, 0.36), "flicker": (2.1, 2.0, 0.0), "psnr": (24.0, 22.0, 21.5)}
SCORES = {"lpips": ("pair", "lower", "distance", NANO), "flicker": ("video", "neither", "grey levels", ""),
          "psnr": ("pair", "higher", "dB", "")}  # fmt: skip


def make_fake_evaluation(folder: Path, *, sources: int = 8) -> Path:
    """Write what `evaluate` leaves; the first videos are a GIF, one with a name in Japanese, one odd-sized."""
    videos = write_videos(folder, sources)
    scores = [
        Score(metric, "1", v.arm, v.id, v.source, *value(metric, v), unit=SCORES[metric][2])
        for metric in SCORES
        for v in videos
        if v.arm != "real" and not v.problem
    ]
    scores = [s if s.value is not None else dataclasses.replace(s, reason="a single frame") for s in scores]
    write_records(folder / "videos.jsonl", videos)
    write_records(folder / "scores.jsonl", scores)
    write_results(folder, results(scores, sources))
    return folder


def write_results(folder: Path, found: list[Result]) -> None:
    identity = {"name": "nano_lpips", "version": "1", "preprocessing": "frames to 64 x 64, -1..1", "sha256": SHA}
    meta = {
        "cinetune": "0.1",
        "seed": 7,
        "command": "cinetune evaluate tuned base --reference real --out evaluation",
        "environment": {"python": "3.12", "torch": "2.13"},
        "evaluate": {"metrics": list(dict.fromkeys(r.metric for r in found)), "weights": "nano", "level": 0.95},
        "backbones": {"lpips": identity},
    }
    tree = {"schema": 1, "meta": meta, "results": [dataclasses.asdict(r) for r in found]}
    (folder / "results.json").write_text(json.dumps(tree), encoding="utf-8")


def write_videos(folder: Path, sources: int) -> list[Evaluated]:
    found = []
    for n in range(sources):
        name = f"\u6d77\u8fba {n}" if n == 1 else f"clip-{n}"
        truth = scene(n) if n != 2 else scene(n)[:, :63, :77]  # odd sizes
        real = f"videos/real/{name}.mkv"
        save(folder / real, truth)
        caption = CAPTIONS[n % 2]
        height, width = truth.shape[1:3]
        found.append(Evaluated(name, "real", name, real, "", caption, len(truth), height, width))
        for arm in ARMS:
            frames, still = imitate(truth, arm), arm == "static"
            path = f"videos/{arm}/{name}.mkv"
            if still:
                path = real
            elif n == 0 and arm == "tuned":
                path = f"videos/{arm}/{name}.gif"
                save_gif(folder / path, frames)
            elif n == 3 and arm == "base":
                path = f"videos/{arm}/{name}.mp4"
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                write_video(folder / path, frames, FPS)
            else:
                save(folder / path, frames)
            found.append(Evaluated(name, arm, name, path, real, caption, len(frames), height, width, still))
    broken = folder / "videos" / "tuned" / "broken.mp4"
    broken.write_bytes(b"not a video at all")
    reason = f"{broken}: not a video that FFmpeg can read; check the file, or convert it to MP4"
    found.append(Evaluated("broken", "tuned", "broken", "videos/tuned/broken.mp4", "", "", 0, 0, 0, problem=reason))
    return found


def value(metric: str, video: Evaluated) -> tuple[float | None]:
    if metric == "flicker" and video.id == "clip-4" and video.arm == "base":
        return (None,)
    level = LEVELS[metric][ARMS.index(video.arm)]
    wave = math.sin(3.0 * len(video.id) + 2.1 * ord(video.id[-1]) + len(video.arm) / 3)
    return (round(level * (1 + 0.12 * wave), 6),)


def results(scores: list[Score], n: int) -> list[Result]:
    found = []
    for metric, (kind, better, unit, backbone) in SCORES.items():
        mine = {
            arm: {s.source: s.value for s in scores if s.metric == metric and s.arm == arm and s.value is not None}
            for arm in ARMS
        }
        for arm, values in mine.items():
            found.append(estimate(metric, arm, kind, better, unit, backbone, list(values.values())))
        for a, b in (("tuned", "base"), ("tuned", "static")):
            if kind == "video" and b == "static":
                continue
            gaps = [x - mine[b][source] for source, x in mine[a].items() if source in mine[b]]
            found.append(estimate(metric, f"{a} - {b}", kind, better, unit, backbone, gaps, p=0.002))
    found[8] = dataclasses.replace(found[8], low=-0.3, high=0.42, p_value=0.41, p_holm=0.82)  # flicker
    found[-2] = dataclasses.replace(found[-2], p_value=0.03, p_holm=0.09)  # psnr, tuned - base
    fvd = {"backbone": "nano_video 1 (sha256 123456789abc)", "unit": "squared feature distance", "kind": "set"}
    base = Result("fvd", "1", "tuned", better="lower", estimate=31.0, low=25.0, high=38.0, level=0.95, n=n, seed=7,
                  reason="biased upwards: few videos", **fvd)  # fmt: skip
    none = "no interval from 8 independent clips; 16 would do"
    found += [
        base,
        dataclasses.replace(base, arm="base", estimate=44.0, low=36.0, high=53.0),
        dataclasses.replace(base, arm="static", estimate=120.0, low=90.0, high=150.0),
        dataclasses.replace(base, arm="real", estimate=12.0, low=8.0, high=17.0, n=n // 2, reason="random halvings"),
        dataclasses.replace(base, arm="tuned - base", estimate=-13.0, low=None, high=None, p_value=0.04, reason=none),
        dataclasses.replace(base, arm="tuned", metric="kid", estimate=None, low=None, high=None, reason="too few"),
    ]
    return found


def estimate(
    metric: str, arm: str, kind: str, better: str, unit: str, backbone: str, values: list[float],
    p: float | None = None,
) -> Result:  # fmt: skip
    middle, width = float(np.mean(values)), 2 * float(np.std(values)) / math.sqrt(len(values))
    p_holm = None if p is None else 3 * p
    return Result(
        metric, "1", arm, kind, better, middle, middle - width, middle + width, 0.95, len(values), unit, backbone, 7,
        p, p_holm,
    )  # fmt: skip


def save_gif(path: Path, frames: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = [Image.fromarray(frame) for frame in frames]
    first.save(path, save_all=True, append_images=rest, duration=60, loop=0)
