"""The video decoded in tiles, whose seams are exact."""

from dataclasses import replace
from typing import Any

from cinetune.errors import RecipeError
from cinetune.generate.levers._contract import Lever, Opening, Order
from cinetune.generate.window import Rig


def _open(opening: Opening, value: str) -> None:
    if not (value.isdecimal() and int(value)):
        raise RecipeError(f"--lever tiles={value}: give a number of tiles, 1 or more")


def _apply(rig: Rig, value: str) -> str:
    decoder: Any = rig.decoder
    rig.decoder = replace(decoder, tiles=int(value))
    return ""


LEVER = Lever(
    name="tiles",
    does="Decodes the video in this many tiles, which takes less memory and more time.",
    changes="rounding",
    order=Order.DECODE,
    source="cinetune.models._tiles",
    value="4",
    means="a number of tiles",
    open=_open,
    apply=_apply,
)
