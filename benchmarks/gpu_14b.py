"""What Wan2.1 I2V 14B costs on this GPU beside the estimate: `python benchmarks/gpu_14b.py`, under ten minutes.

Runs `cinetune doctor --weights random --measure` for each size and adapter, one process each, so that none sees the
memory of another. Everything goes to one JSON file, after each point anew, and in the end to a table for docs/log.md.
Needs the repository, installed or not, and torch, diffusers, transformers, peft, accelerate, jaxtyping and rich.
Elsewhere: `--model nano --weights stored --shapes 17x64x96` is the same on a CPU in seconds.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[1] / "src"
NEEDED = ("torch", "diffusers", "transformers", "peft", "accelerate", "jaxtyping", "rich")
GIB = 2**30
COLUMNS = (
    ("size", "adapter", "built", "forward", "TFLOP/s", "of peak", "step", "TFLOP/s", "of peak", "expected", "ratio"),
    ("size", "adapter", "forward", "expected", "ratio", "step", "expected", "ratio", "GPU in use", "expected", "ratio"),
)  # fmt: skip


def main() -> int:
    """Measure every point that the time allows; 1 where one was not measured."""
    asked = _arguments()
    if asked.point:
        return _point(json.loads(asked.point), asked.out)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(f"gpu_14b: not installed here: {', '.join(missing)}; install them, nothing was measured")
        return 2
    points = [
        {
            "model": asked.model, "weights": asked.weights, "frames": frames, "height": height, "width": width,
            "targets": targets, "rank": rank, "precision": asked.precision, "repeats": asked.repeats,
            "device": asked.device,
        }
        for targets, rank in map(_adapter, asked.adapters.split(","))
        for frames, height, width in map(_shape, asked.shapes.split(","))
    ]  # fmt: skip
    began, done = time.monotonic(), list[dict[str, Any]]()
    for number, point in enumerate(points, 1):
        left = asked.budget - (time.monotonic() - began)
        print(f"\n== {number} of {len(points)}: {_size(point)}, {_named(point)}; {left:.0f} s left", flush=True)
        done.append(point | _measured(point, left))
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        aside = asked.out.with_suffix(".aside")
        aside.write_text(json.dumps({"schema": 1, "points": done}, indent=1) + "\n", encoding="utf-8")
        aside.replace(asked.out)
    print(f"\n{table(done)}\n\nall of it: {asked.out}", flush=True)
    return int(any("error" in point for point in done))


def table(points: list[dict[str, Any]]) -> str:
    """Return two tables in Markdown: times in seconds, peaks in GiB. What was not measured says why."""
    times, peaks, failed = [], [], []
    for point in points:
        at = (_size(point), _named(point))
        if "error" in point:
            failed.append(f"- {at[0]}, {at[1]}: not measured: {point['error']}")
            continue
        measured = point["doctor"]["measured"]
        forward, step = measured["forward"], measured["step"]
        times.append((
            *at, f"{measured['build_seconds']:.1f} s", f"{forward['seconds']:.3g} s", f"{forward['tflops']:.3g}",
            _share(forward["share"]), f"{step['seconds']:.3g} s", f"{step['tflops']:.3g}", _share(step["share"]),
            f"{step['seconds_expected']:.3g} s", _ratio(step, "seconds"),
        ))  # fmt: skip
        peaks.append((
            *at, _gib(forward["tensors"]), _gib(forward["tensors_expected"]), _ratio(forward, "tensors"),
            _gib(step["tensors"]), _gib(step["tensors_expected"]), _ratio(step, "tensors"),
            _gib(step["in_use"]), _gib(step["in_use_expected"] if step["in_use"] else None), _ratio(step, "in_use"),
        ))  # fmt: skip
    lines = []
    for title, head, rows in (
        ("Times; a step is expected at the rate of the forward pass.", COLUMNS[0], times),
        ("Peaks in GiB: tensors of the forward pass and of the step, and GPU memory in use.", COLUMNS[1], peaks),
    ):
        if rows:
            lines += [title, "", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
            lines += [f"| {' | '.join(row)} |" for row in rows] + [""]
    machines = {point["doctor"]["measured"]["device"] for point in points if "doctor" in point}
    return "\n".join([*(f"On {machine}." for machine in sorted(machines)), "", *lines, *failed]).strip()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="wan2.1-i2v-14b-720p")
    parser.add_argument("--weights", default="random", choices=("random", "stored"))
    parser.add_argument("--shapes", default="33x480x832,81x480x832", help="frames x height x width, ...")
    parser.add_argument("--adapters", default="cross-attention:8,all-linear:32", help="targets:rank, ...")
    parser.add_argument("--precision", default="bf16", choices=("bf16", "fp32", "fp8"))
    parser.add_argument("--repeats", type=int, default=2, help="timed runs after one that is not timed")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--budget", type=float, default=540, help="seconds for all points together")
    parser.add_argument("--out", type=Path, default=Path("gpu_14b.json"))
    parser.add_argument("--point", help=argparse.SUPPRESS)  # one point, in a process of its own
    return parser.parse_args()


def _measured(point: dict[str, Any], left: float) -> dict[str, Any]:
    """What the doctor says of one point, or why nothing."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "point.json"
        command = [sys.executable, __file__, "--point", json.dumps(point), "--out", str(out)]
        path = os.pathsep.join(filter(None, (str(SOURCE), os.environ.get("PYTHONPATH"))))
        try:
            ended = subprocess.run(command, timeout=max(left, 1), env=os.environ | {"PYTHONPATH": path}, check=False)
        except subprocess.TimeoutExpired:
            return {"error": "the time was used up; give a larger --budget, or fewer --shapes or --adapters"}
        if not out.is_file():
            return {"error": f"the process ended with code {ended.returncode}; what it said is above"}
        answer: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return answer if "error" in answer else {"doctor": answer}


def _point(point: dict[str, Any], out: Path) -> int:
    from cinetune.doctor.doctor import doctor
    from cinetune.errors import CinetuneError

    try:
        doctor(point.pop("model"), measure=True, json_file=out, **point)
    except CinetuneError as error:
        print(f"gpu_14b: {error}", flush=True)
        out.write_text(json.dumps({"error": str(error)}), encoding="utf-8")
        return 2
    return 0


def _shape(text: str) -> tuple[int, int, int]:
    frames, height, width = map(int, text.split("x"))
    return frames, height, width


def _adapter(text: str) -> tuple[str, int]:
    targets, _, rank = text.rpartition(":")
    return targets, int(rank)


def _size(point: dict[str, Any]) -> str:
    return f"{point['frames']}x{point['height']}x{point['width']}"


def _named(point: dict[str, Any]) -> str:
    return f"{point['targets']}, rank {point['rank']}"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _gib(size: int | None) -> str:
    return "-" if size is None else f"{size / GIB:.4g}"


def _ratio(work: dict[str, Any], of: str) -> str:
    ratio = work["measured_over_expected"][of]
    return "-" if ratio is None else f"{ratio:.2f}"


if __name__ == "__main__":
    sys.exit(main())
