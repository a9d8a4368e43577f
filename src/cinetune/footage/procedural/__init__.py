"""Films that the computer draws: deterministic, captioned, with exact ground truth.

They train the miniature model that ships with the package, and they are the footage of every offline test.
"""

from cinetune.footage.procedural.clips import RenderedClip, render_clip
from cinetune.footage.procedural.film import FilmShot, FilmTruth, render_film
from cinetune.footage.procedural.plan import BASE_WORLD, DOMAINS

__all__ = ["BASE_WORLD", "DOMAINS", "FilmShot", "FilmTruth", "RenderedClip", "render_clip", "render_film"]
