"""A long film takes its own frames and a fixed amount of memory."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from cinetune.footage.video_io import write_video
from cinetune.metrics.backbones import nano_lpips
from cinetune.metrics.backbones._pixels import CPU_PIXELS, frames_at_once

PROGRAM = """
import sys
from pathlib import Path
from cinetune.evaluate.evaluation import peak_memory
from cinetune.evaluate.evaluator import measure
from cinetune.evaluate.inputs import assemble
from cinetune.recipe import Evaluate

root, out, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
videos = assemble({"generated": [root / "gen" / name]}, [root / "real" / name])
section = Evaluate(metrics=("lpips", "fvd", "kid", "subject_consistency", "flicker", "psnr"), resamples=100)
done = measure(videos, section, seed=0, out=out, workers=1)
assert done.whole
print(peak_memory())
"""
SIZE = (256, 448, 3)


def film(count: int, shift: int) -> Iterator[np.ndarray]:
    picture = np.random.default_rng(0).integers(0, 256, (16, 28, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    for n in range(count):
        yield np.roll(picture, 3 * n + shift, axis=1)


@pytest.mark.slow
def test_memory_grows_by_the_frames_alone(tmp_path: Path) -> None:
    """Of two films of 660 frames at most 1.3 times the frames, beside what 60 frames take."""
    counts = (60, 660)
    for count in counts:
        for shift, arm in enumerate(("gen", "real")):
            write_video(tmp_path / arm / f"{count}.mp4", film(count, shift), 24.0, crf=30)
    peaks = []
    for count in counts:
        words = [sys.executable, "-c", PROGRAM, tmp_path, tmp_path / str(count), f"{count}.mp4"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    more = 2 * (counts[1] - counts[0]) * int(np.prod(SIZE))
    print([f"{peak / 2**20:.0f} MiB" for peak in peaks], f"{more / 2**20:.0f} MiB of frames more")
    assert peaks[1] - peaks[0] <= 1.3 * more, (peaks, more)


def test_large_frames_are_compared_a_few_at_a_time_with_the_same_result() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    small, large = np.zeros((9, 64, 96, 3), np.uint8), np.zeros((9, 400, 500, 3), np.uint8)
    assert frames_at_once(small, 16, cpu) == 16
    assert frames_at_once(large, 16, cpu) == CPU_PIXELS // (400 * 500) == 2
    assert frames_at_once(np.broadcast_to(large[:, :1, :1], (9, 2160, 4096, 3)), 16, cpu) == 1
    assert frames_at_once(large, 16, gpu) == 16
    eye = nano_lpips.load()
    a, b = (np.random.default_rng(n).integers(0, 256, (3, 400, 500, 3), np.uint8) for n in range(2))
    alone = [eye.distances(a[n : n + 1], b[n : n + 1])[0] for n in range(3)]
    np.testing.assert_allclose(eye.distances(a, b), alone, rtol=1e-6)
