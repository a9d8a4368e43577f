"""The command line in a process of its own, and what a refusal looks like."""

import subprocess
import sys
from pathlib import Path


def call(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cinetune", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300, check=False)


def refused(result: subprocess.CompletedProcess[str]) -> str:
    """The one line of a refusal."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("cinetune: ")]
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    return lines[0]
