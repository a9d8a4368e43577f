"""Memory does not grow with the number of videos."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cinetune.footage.video_io import write_video

PROGRAM = """
import sys
from pathlib import Path
from cinetune.evaluate.evaluation import peak_memory
from cinetune.evaluate.evaluator import measure
from cinetune.evaluate.inputs import assemble
from cinetune.recipe import Evaluate

root, out, most = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
arms = [sorted((root / arm).iterdir())[:most] for arm in ("gen", "real")]
section = Evaluate(metrics=("lpips", "fvd", "kid", "clip_frames", "flicker", "psnr"), resamples=100)
done = measure(assemble({"generated": arms[0]}, arms[1]), section, seed=0, out=out, workers=2)
assert done.whole
assert len(done.videos) == 3 * most  # with the held first frames
print(done.told(), file=sys.stderr)
print(peak_memory())
"""


@pytest.mark.slow
def test_two_thousand_videos_take_as_much_memory_as_two_hundred(tmp_path: Path) -> None:
    for n in range(1000):
        frames = np.random.default_rng(n).integers(0, 256, (3, 16, 24, 3), np.uint8)
        write_video(tmp_path / "real" / f"{n:04}.mkv", frames, 16.0, lossless=True)
        write_video(tmp_path / "gen" / f"{n:04}.mkv", frames ^ 7, 16.0, lossless=True)
    peaks = {}
    for most in (100, 1000):
        words = [sys.executable, "-c", PROGRAM, tmp_path, tmp_path / str(most), str(most)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        print(done.stderr.splitlines()[-1])
        peaks[2 * most] = int(done.stdout)
    assert peaks[2000] <= 1.2 * peaks[200], peaks
