"""The videos of an evaluation made playable: any input decoded, made small enough for a page, written as H.264."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from cinetune.errors import FootageError
from cinetune.footage.any_video import is_animated_webp, read_any
from cinetune.footage.video_io import probe, read_frames, write_video
from cinetune.report.media import MediaFolder, Video, enlargement

Picture = UInt8[np.ndarray, "h w 3"]

LONGEST_SIDE = 480
"""Of a video on the page, px."""
MOST_FRAMES = 240
"""Of a video on the page; of a longer one the beginning is shown."""
UNKNOWN_RATE = 16.0
"""Frames per second at which a folder of pictures or an animated WebP plays."""


@dataclass(frozen=True)
class Playable:
    """One video as it was made for the page."""

    video: Video
    height: int
    width: int
    """Size of the original, px."""
    cut: bool
    """Only the beginning is shown."""


@dataclass
class EvaluationMedia:
    """Writes each video once, whoever asks for it; frames are decoded, made smaller and encoded one at a time."""

    folder: MediaFolder
    made: dict[tuple[Path, bool, Path], Playable | str] = field(default_factory=dict)

    def video(self, path: Path, *, still: bool = False, as_fast_as: Path | None = None) -> Playable | str:
        """Return a video of the page, or the reason why it cannot be shown.

        Args:
            path: of the original.
            still: show its first frame for its whole length.
            as_fast_as: the video whose frames per second it gets, so that both stay together; None keeps its own.
        """
        key = (path, still, as_fast_as or path)
        if key not in self.made:
            try:
                self.made[key] = self._make(*key, name=f"video-{len(self.made) + 1:03d}")
            except FootageError as error:
                self.made[key] = str(error).replace(f"{path}", path.name)
        return self.made[key]

    def _make(self, path: Path, still: bool, pace: Path, name: str) -> Playable:
        fps = rate(pace)
        frames = decoded(path)
        first = next(frames, None)
        if first is None:
            raise FootageError(f"{path}: holds no frames")
        height, width = page_size(*first.shape[:2])
        rest = islice(frames, MOST_FRAMES - 1)
        count = 0

        def pictures() -> Iterator[Picture]:
            nonlocal count
            yield poster
            for frame in rest:
                count += 1
                yield poster if still else resized(frame, height, width)

        poster = resized(first, height, width)
        file = f"media/{name}.mp4"
        write_video(self.folder.page / file, pictures(), fps, crf=20)
        cut = next(frames, None) is not None
        jpeg = self.folder.still(f"{name}-poster", poster)
        factor = max(1, height // first.shape[0])
        video = Video(file, jpeg.file, width, height, count + 1, fps, factor)
        return Playable(video, first.shape[0], first.shape[1], cut)


def decoded(path: Path) -> Iterator[Picture]:
    """Return the frames of a video of any form, one at a time where FFmpeg reads it.

    Raises:
        FootageError: it cannot be read.
    """
    if no_rate(path):
        return iter(read_any(path))
    return (frame for _, frame in read_frames(path))


def rate(path: Path) -> float:
    """Return frames per second; UNKNOWN_RATE for forms that have none.

    Raises:
        FootageError: it cannot be read.
    """
    return UNKNOWN_RATE if no_rate(path) else probe(path).fps


def no_rate(path: Path) -> bool:
    """Return whether a video's form says nothing of its speed, or says it frame by frame."""
    return path.is_dir() or is_animated_webp(path)


def page_size(height: int, width: int) -> tuple[int, int]:
    """Return the size on the page: small videos enlarged by a whole factor, large ones shrunk, both sides even."""
    longest = max(height, width)
    scale = LONGEST_SIDE / longest if longest > LONGEST_SIDE else min(enlargement(width), LONGEST_SIDE // longest)
    return even(height * scale), even(width * scale)


def even(length: float) -> int:
    """Return the nearest even number, at least 2: H.264 halves the colour."""
    return max(2, 2 * round(length / 2))


def resized(frame: Picture, height: int, width: int) -> UInt8[np.ndarray, "h_out w_out 3"]:
    """Return a frame of another size (Lanczos)."""
    if frame.shape[:2] == (height, width):
        return frame
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS))
