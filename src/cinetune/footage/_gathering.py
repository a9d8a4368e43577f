"""Many frames in one array that grows as they come, so that they are never held twice.

A list that is stacked at its end takes twice the memory, and what the list took is not given back: the C library keeps
freed pieces of a megabyte for itself. One large array is moved by its pages and returned to the system when it goes.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from cinetune.devices import free_memory
from cinetune.errors import FootageError

FIRST = 16
"""Frames there is room for at first."""
SHARE = 8
"""It grows by one in so many."""
LARGEST = 4 * 2**30
"""Bytes of one decoded video where the system does not say how much memory is left."""
SPARE = 2**30
"""Bytes that must stay free for what is made of the frames."""


def gather(path: Path, frames: Iterable[UInt8[np.ndarray, "_h _w 3"]]) -> UInt8[np.ndarray, "f h w 3"]:
    """Return all frames of a video.

    Args:
        path: of the video, for messages.
        frames: all of one size.

    Raises:
        FootageError: no frames, frames of different sizes, or more than fit into the memory that is left.
    """
    whole = np.empty((0, 0, 0, 3), np.uint8)
    count = 0
    for frame in frames:
        if count == 0:
            whole = np.empty((FIRST, *frame.shape), np.uint8)
        if frame.shape != whole.shape[1:]:
            own, true = (f"{shape[1]}x{shape[0]}" for shape in (frame.shape, whole.shape[1:]))
            raise FootageError(f"{path}: frame {count} is {own}, those before it {true}; give frames of one size")
        if count == len(whole):
            more = len(whole) // SHARE
            _insist_on_room(path, whole.nbytes, more * frame.nbytes)
            whole.resize((count + more, *frame.shape), refcheck=False)  # nothing else has a view of it
        whole[count] = frame
        count += 1
    if not count:
        raise FootageError(f"{path}: holds no frames; export or download it again")
    whole.resize((count, *whole.shape[1:]), refcheck=False)
    return whole


def _insist_on_room(path: Path, held: int, more: int) -> None:
    left = free_memory()
    if (held + more > LARGEST) if left is None else (more > left - SPARE):
        free = "" if left is None else f", of which {left / 2**30:.1f} GiB are left"
        raise FootageError(
            f"{path}: too long: its frames take more than {held / 2**30:.1f} GiB of memory{free}; cut it into clips, "
            "or look at fewer videos side by side"
        )
