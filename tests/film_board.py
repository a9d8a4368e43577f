"""A storyboard of six shots over rendered stills: every way in which a shot can begin, and two chained ones of 10 s."""

from pathlib import Path

import numpy as np
from PIL import Image

from cinetune.footage.procedural.clips import render_clip
from cinetune.footage.procedural.plan import DOMAINS

BOARD = """
title = "Six shots"
seed = 5

[[shot]]
name = "opening"
prompt = "{0}"
still = "0.png"
seconds = {long}

[[shot]]
name = "restyled"
prompt = "{1}"
reference = "1.png"
strength = 0.6
seconds = {short}

[[shot]]
name = "on"
prompt = "{1}"
after = "previous"
seconds = {long}

[[shot]]
name = "between"
prompt = "{2}"
still = "2.png"
last = "2-end.png"
frames = 17

[[shot]]
name = "wide"
prompt = "{3}"
still = "3-wide.png"
seconds = {short}

[[shot]]
name = "end"
prompt = "{4}"
still = "4.png"
seconds = {short}
"""


def write_board(folder: Path, *, long: float, short: float, extra: str = "") -> Path:
    """Write board.toml and its pictures, the first frames of rendered clips; return the board's path."""
    folder.mkdir(parents=True, exist_ok=True)
    captions = []
    for n, domain in enumerate(DOMAINS[:5]):
        clip = render_clip(domain, seed=11)
        frames = clip.frames
        Image.fromarray(frames[0]).save(folder / f"{n}.png")
        if n == 2:
            Image.fromarray(frames[-1]).save(folder / "2-end.png")
        if n == 3:
            wide = np.pad(frames[0], ((0, 0), (24, 24), (0, 0)), mode="edge")
            Image.fromarray(wide).save(folder / "3-wide.png")
        captions.append(clip.caption)
    board = folder / "board.toml"
    board.write_text(extra + BOARD.format(*captions, long=long, short=short), encoding="utf-8")
    return board
