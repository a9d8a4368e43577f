"""Two folders of videos, paired by file name."""

import json
from collections.abc import Mapping
from pathlib import Path

from cinetune.errors import MetricError
from cinetune.evaluate.estimates import REAL
from cinetune.evaluate.features import Video

SUFFIXES = frozenset({".mkv", ".mp4", ".mov", ".webm", ".avi", ".m4v", ".gif"})
GENERATED = "generated"


def pair(generated: Path, reference: Path, prompts: Mapping[str, str]) -> list[Video]:
    """Return all videos of both folders; a generated one knows the reference of the same name, where there is one.

    Args:
        generated, reference: folders of videos, or single video files (two single files are a pair by themselves).
        prompts: captions by file name without suffix.

    Raises:
        MetricError: no such folder, no video in it, two videos of one name, or no prompt fits a video.
    """
    own, true = _videos(generated), _videos(reference)
    if generated.is_file() and reference.is_file():
        true = dict(zip(own, true.values(), strict=True))
    if prompts and not set(prompts) & set(own):
        raise MetricError(
            f"no prompt fits a video of {generated}: prompts are named {min(prompts)!r}..., "
            f"videos {min(own)!r}...; name them alike"
        )
    made = [_video(name, GENERATED, path, true.get(name), prompts) for name, path in own.items()]
    return made + [_video(name, REAL, path, None, prompts) for name, path in true.items()]


def _video(name: str, arm: str, path: Path, reference: Path | None, prompts: Mapping[str, str]) -> Video:
    return Video(
        id=name,
        arm=arm,
        source=name,
        cluster=name,
        path=path,
        reference=reference,
        caption=prompts.get(name, ""),
        matched=True,
    )


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


def _videos(path: Path) -> dict[str, Path]:
    """Videos by file name without suffix, in order of name."""
    if path.is_file():
        return {path.stem: path}
    if not path.is_dir():
        raise MetricError(f"{path}: no such folder or video")
    found: dict[str, Path] = {}
    for file in sorted(path.iterdir()):
        if file.suffix.lower() in SUFFIXES and not file.name.startswith("."):
            if file.stem in found:
                raise MetricError(f"{path}: {found[file.stem].name} and {file.name} have one name; rename one of them")
            found[file.stem] = file
    if not found:
        raise MetricError(f"{path}: no video in this folder (looked for {', '.join(sorted(SUFFIXES))})")
    return found
