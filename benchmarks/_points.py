"""Points of a benchmark on a GPU, each measured in a process of its own and written down as soon as it is there."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[1] / "src"


def carry_out(
    script: str, points: Sequence[dict[str, Any]], named: Callable[[dict[str, Any]], str], out: Path, *,
    budget: float, fewer: str,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return every point with its rows, or with the reason why some are missing; `out` grows point by point.

    Args:
        script: called with --point JSON --out FILE --budget SECONDS.
        named: what a point is called on the terminal.
        budget: seconds for all of them; what one leaves, the next may use.
        fewer: options that would make it shorter.
    """
    began, done = time.monotonic(), list[dict[str, Any]]()
    for number, point in enumerate(points, 1):
        left = budget - (time.monotonic() - began)
        share = max(left / (len(points) - number + 1), 1)
        print(f"\n== {number} of {len(points)}: {named(point)}; {share:.0f} s", flush=True)
        done.append(point | _measured(script, point, share, left, fewer))
        write(out, {"schema": 1, "points": done})
    return done


def write(path: Path, tree: dict[str, Any]) -> None:
    """Write JSON, whole or not at all; a benchmark may be run without the package's own writer at hand."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".aside")
    aside.write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")
    aside.replace(path)


def _measured(script: str, point: dict[str, Any], share: float, left: float, fewer: str) -> dict[str, Any]:
    """The rows of one point; a process that takes too long leaves those that it has."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "point.json"
        command = [sys.executable, script, "--point", json.dumps(point), "--out", str(out), "--budget", str(share)]
        path = os.pathsep.join(filter(None, (str(SOURCE), os.environ.get("PYTHONPATH"))))
        error = ""
        try:
            ended = subprocess.run(command, timeout=max(left, 1), env=os.environ | {"PYTHONPATH": path}, check=False)
            error = f"the process ended with code {ended.returncode}" * bool(ended.returncode)
        except subprocess.TimeoutExpired:
            error = f"the time was used up; give a larger --budget, or fewer {fewer}"
        answer: dict[str, Any] = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {"rows": []}
        return answer | ({"error": error} if error else {})
