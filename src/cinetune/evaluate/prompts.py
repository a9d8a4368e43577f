"""Captions of videos, by name, from a text file."""

import json
from pathlib import Path

from cinetune.errors import MetricError


def read_prompts(path: Path) -> dict[str, str]:
    """Read captions by file name without suffix: a JSON object, or lines of name, tab, caption.

    Raises:
        MetricError: no such file, or it is neither.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise MetricError(f"{path}: cannot read prompts; give a JSON object or lines of name, tab, caption") from None
    if path.suffix == ".json":
        try:
            tree = json.loads(text)
        except json.JSONDecodeError as error:
            raise MetricError(f"{path}:{error.lineno}: not JSON ({error.msg})") from None
        if not isinstance(tree, dict) or not all(isinstance(v, str) for v in tree.values()):
            raise MetricError(f"{path}: not a JSON object of captions by video name")
        return {str(name): caption for name, caption in tree.items()}
    prompts = {}
    for number, line in enumerate(text.splitlines(), start=1):
        name, tab, caption = line.partition("\t")
        if line.strip() and not tab:
            raise MetricError(f"{path}:{number}: no tab; a line is the video's name, a tab, and its caption")
        if tab:
            prompts[name.strip()] = caption.strip()
    return prompts
