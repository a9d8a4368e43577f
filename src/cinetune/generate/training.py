"""The film that an adapter was trained on, looked at once: the yardstick for grade, sharpness and consistency."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cinetune.adapters.style import Style, training_clips
from cinetune.footage.video_io import read_video
from cinetune.generate.consistency import View, look_at
from cinetune.metrics.backbones._contract import Eye

MOST_SHOTS = 48
"""Looked at, spread evenly over the film."""
USUAL = (10, 90)
"""Percentiles between which a film's sharpness counts as its own."""


def views(source: Path, eye: Eye | None, *, frames: int = 4) -> tuple[list[View], int]:
    """Look at one clip of every training shot, or of `MOST_SHOTS`, spread evenly.

    Args:
        source: as `style.find_style`.
        eye: as `consistency.look_at`.
        frames: of each clip, spread evenly; as many as of a generated shot, 1 for keyframes, else they are not alike.

    Returns:
        the views, and the height of the clips in pixels, the most common one; nothing and 0 where there is no run with
        footage.

    Raises:
        RecordError, FootageError: clips.jsonl, or a clip, is damaged or missing.
        WeightsError: as `consistency.look_at`.
    """
    of_shot = {clip.shot: (clip, video) for clip, video in training_clips(source) if clip.frames > 1}
    clips = list(of_shot.values())
    heights = Counter(clip.height for clip, _ in clips)
    height = heights.most_common(1)[0][0] if heights else 0
    clips = [(clip, video) for clip, video in clips if clip.height == height]
    seen = []
    for n in sorted({int(i) for i in np.linspace(0, len(clips) - 1, min(MOST_SHOTS, len(clips)))}):
        clip, video = clips[n]
        whole = read_video(video)[0]
        some = np.linspace(0, len(whole) - 1, min(frames, len(whole))).round().astype(int)
        seen.append(look_at(clip.shot, whole[some], eye))
    return seen, height


def measured(style: Style, film: Sequence[View], height: int) -> Style:
    """Return a style with grades and sharpness of the training film as `views` saw it; as it is without views."""
    if not film:
        return style
    low, high = np.percentile([view.sharpness for view in film], USUAL).tolist()
    return dataclasses.replace(
        style, grades=np.stack([view.grade for view in film]), sharpness=(low, high), height=height
    )
