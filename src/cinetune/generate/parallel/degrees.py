"""How many processes do what: numbers alone."""

from collections.abc import Iterable
from dataclasses import dataclass

from cinetune.errors import RecipeError

OPTION = "--parallel"
NUMBERS = ("segments", "guidance", "ulysses")


@dataclass(frozen=True)
class Degrees:
    """Processes of each kind of sharing; their product is the number of processes."""

    segments: int = 1
    """Groups of processes that make windows of different chains at the same time."""
    guidance: int = 1
    """2: of each group, one half computes the velocity for the prompt, the other that for the negative prompt."""
    ulysses: int = 1
    """Processes that share the tokens of one forward pass."""
    shard: bool = False
    """Each process of a group holds a part of every weight; a block is put together when its turn comes (FSDP2)."""

    @property
    def group(self) -> int:
        """Processes that make one window."""
        return self.guidance * self.ulysses

    @property
    def world(self) -> int:
        """All processes."""
        return self.segments * self.group

    @classmethod
    def parse(cls, text: str, world: int) -> "Degrees":
        """Return what `segments=2,guidance=2,ulysses=1,shard=yes` says; what is not named is 1, or no.

        Args:
            text: of the option.
            world: the number of processes that were started.

        Raises:
            RecipeError: not of this form, or the product is not the number of processes.
        """
        found: dict[str, int | bool] = {}
        for part in text.split(","):
            name, _, value = (side.strip() for side in part.partition("="))
            if name in found:
                raise RecipeError(f"{OPTION} {text}: {name} is given twice")
            if name == "shard" and value in ("yes", "no"):
                found[name] = value == "yes"
            elif name in NUMBERS and value.isdecimal() and int(value) > 0:
                found[name] = int(value)
            else:
                raise RecipeError(f"{OPTION} {text}: {part.strip()!r} is not understood; write "
                                  "segments=N,guidance=1 or 2,ulysses=N,shard=yes or no")  # fmt: skip
        degrees = cls(**found)  # type: ignore[arg-type]  # by name, as just checked
        if degrees.guidance > 2:
            raise RecipeError(f"{OPTION} {text}: guidance has two halves, the prompt's and the negative prompt's; "
                              "give guidance=1 or guidance=2")  # fmt: skip
        if degrees.world != world:
            sides = " x ".join(f"{name} {getattr(degrees, name)}" for name in NUMBERS)
            raise RecipeError(f"{OPTION} {text}: {sides} is {degrees.world} processes, and {world} were started; "
                              "change one of them")  # fmt: skip
        if degrees.shard and degrees.group == 1:
            raise RecipeError(f"{OPTION} {text}: weights are shared out within a group, and these groups are one "
                              "process each; raise guidance or ulysses, or leave out shard")  # fmt: skip
        return degrees

    def __str__(self) -> str:
        """Return the form that `parse` reads."""
        numbers = ",".join(f"{name}={getattr(self, name)}" for name in NUMBERS)
        return f"{numbers},shard={'yes' if self.shard else 'no'}"


def fitting(heads: int, tokens: Iterable[int], most: int) -> list[int]:
    """Return by how many processes the tokens can be shared, up to `most`: those that divide heads and all of them."""
    sizes = [heads, *tokens]
    return [degree for degree in range(1, most + 1) if not any(size % degree for size in sizes)]


def check_fit(degrees: Degrees, heads: int, tokens: dict[int, int], *, guided: bool) -> None:
    """Refuse what cannot be shared so, before any work.

    Args:
        degrees: as asked for.
        heads: attention heads of the network.
        tokens: of every length of window that will be made, by its number of frames.
        guided: whether there is guidance.

    Raises:
        RecipeError: guidance is off, or heads or tokens do not divide.
    """
    if degrees.guidance == 2 and not guided:
        raise RecipeError(f"{OPTION} {degrees}: guidance is off (scale 1), so there is nothing to do on a second half; "
                          "give guidance=1")  # fmt: skip
    wrong = [f"{count} tokens of {frames} frames" for frames, count in tokens.items() if count % degrees.ulysses]
    if heads % degrees.ulysses:
        wrong.insert(0, f"{heads} attention heads")
    if wrong:
        usable = ", ".join(map(str, fitting(heads, tokens.values(), max(2 * degrees.ulysses, 8))))
        raise RecipeError(f"{OPTION} {degrees}: ulysses={degrees.ulysses} does not divide {' or '.join(wrong)}; here "
                          f"it can be {usable}, or more with another size or windows of other lengths")  # fmt: skip
