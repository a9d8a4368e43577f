"""The pictures and videos of the page: H.264 for playing, JPEG strips for looking, all made from lossless frames."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from cinetune.footage.video_io import read_video, write_video
from cinetune.report.comparison import spread

Frames = UInt8[np.ndarray, "f h w 3"]
Picture = UInt8[np.ndarray, "h w 3"]

PAGE_WIDTH = 384
"""Videos much smaller than this, px, are enlarged to about this width."""
STRIP_HEIGHT = 128
"""Height of one frame of a contact sheet, px."""
STRIP_FRAMES = 6
GAP = 3
"""Black between two frames of a strip, px."""


@dataclass(frozen=True)
class Video:
    """One playable video of the page."""

    file: str
    """Path relative to the page."""
    poster: str
    """First frame, path relative to the page."""
    width: int
    height: int
    """Size of the file, px."""
    frames: int
    fps: float
    enlarged: int
    """Factor by which the frames were enlarged for the page; 1 = as they are."""


@dataclass(frozen=True)
class Still:
    """One picture of the page."""

    file: str
    width: int
    height: int


class MediaFolder:
    """Writes into `media/` of a page and remembers nothing but where that is."""

    def __init__(self, page: Path) -> None:
        self.page = page
        (page / "media").mkdir()

    def video(self, name: str, frames: Frames, fps: float) -> Video:
        """Write frames as H.264 with a poster; small ones are enlarged by a whole factor (Lanczos)."""
        factor = enlargement(frames.shape[2])
        write_video(self.page / "media" / f"{name}.mp4", (enlarge(frame, factor) for frame in frames), fps)
        poster = self.still(f"{name}-poster", enlarge(frames[0], factor))
        return Video(f"media/{name}.mp4", poster.file, poster.width, poster.height, len(frames), fps, factor)

    def still(self, name: str, picture: Picture) -> Still:
        """Write a picture as JPEG without chroma subsampling."""
        path = self.page / "media" / f"{name}.jpg"
        Image.fromarray(picture).save(path, quality=90, subsampling=0)
        return Still(f"media/{name}.jpg", picture.shape[1], picture.shape[0])

    def first_frame(self, name: str, frame: Picture) -> Still:
        """Write the given first frame losslessly, enlarged like the videos beside it."""
        large = enlarge(frame, enlargement(frame.shape[1]))
        Image.fromarray(large).save(self.page / "media" / f"{name}.png", optimize=True)
        return Still(f"media/{name}.png", large.shape[1], large.shape[0])


def enlargement(width: int) -> int:
    """Return the whole factor that brings a small width near PAGE_WIDTH; never shrinks."""
    return max(1, round(PAGE_WIDTH / width))


def enlarge(frame: Picture, factor: int) -> UInt8[np.ndarray, "h_out w_out 3"]:
    """Return a frame enlarged by a whole factor with a Lanczos filter."""
    if factor == 1:
        return frame
    height, width = frame.shape[:2]
    size = (width * factor, height * factor)
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS))


def strip(frames: Frames, count: int = STRIP_FRAMES, height: int = STRIP_HEIGHT) -> UInt8[np.ndarray, "h_out w_out 3"]:
    """Return `count` frames spread over a video, side by side on black, each `height` px tall."""
    width = round(frames.shape[2] * height / frames.shape[1])
    cells: list[Picture] = []
    for position in spread(len(frames), count):
        image = Image.fromarray(frames[position]).resize((width, height), Image.Resampling.LANCZOS)
        cells += [np.asarray(image), np.zeros((height, GAP, 3), np.uint8)]
    return np.concatenate(cells[:-1], axis=1)


def read_frames(folder: Path, video: str) -> tuple[Frames, float]:
    """Return the frames and the rate of a record's video, whose path is relative to `folder`."""
    return read_video((folder / video).resolve())
