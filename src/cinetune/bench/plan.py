"""What is to be measured: ranks, arms and sizes, and how often."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from cinetune.errors import RecipeError

ARMS = {
    "merged": "the adapter added into the weights",
    "unmerged": "the adapter beside the weights, as it is trained and loaded",
    "compiled": "the adapter beside the weights, the block compiled with it; over the compiled base",
    "padded": "the adapter beside the weights and padded with zeros to the largest rank, to be exchanged while it runs",
}
BASE, CONTROL = "base", "control"
"""No adapter; and the very same a second time, in places of its own in each round: what noise alone makes."""
KINDS = ("forward", "block", "whole")
"""One forward pass of the network; of one of its blocks; or a whole window, from pictures to pictures."""


class Size(NamedTuple):
    """Of a video."""

    frames: int
    height: int
    width: int

    def __str__(self) -> str:
        """Return "17x64x96"."""
        return "x".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> "Size":
        """Return what FRAMESxHEIGHTxWIDTH says.

        Raises:
            RecipeError: not three whole numbers.
        """
        parts = text.split("x")
        if len(parts) != 3 or not all(part.isdecimal() for part in parts):
            raise RecipeError(f"--shapes {text}: write FRAMESxHEIGHTxWIDTH, such as 81x480x832")
        return cls(*map(int, parts))


class Cell(NamedTuple):
    """One thing that is timed."""

    arm: str
    rank: int
    size: Size

    def __str__(self) -> str:
        """Return its name in files: "unmerged 8 17x64x96"."""
        return f"{self.arm} {self.rank} {self.size}"

    @property
    def reference(self) -> "Cell":
        """What its time is divided by: the base, for a compiled adapter the compiled one."""
        return Cell("compiled" if self.arm == "compiled" and self.rank else BASE, 0, self.size)


@dataclass(frozen=True)
class Plan:
    """What one bench measures. Two that differ in anything are not put into one folder."""

    model: str
    kind: str = "forward"
    """One of KINDS."""
    ranks: tuple[int, ...] = (0, 4, 8, 16, 32, 64, 128)
    arms: tuple[str, ...] = tuple(ARMS)
    sizes: tuple[Size, ...] = (Size(9, 48, 64), Size(17, 64, 96))
    targets: str = "cross-attention"
    """What the adapters adapt (`adapters.targets`)."""
    precision: str = "fp32"
    """fp32 or bf16."""
    rounds: int = 16
    repeats: int = 2
    """Timed runs of a cell in each round, after one that is not timed; the fastest counts."""
    steps: int = 12
    guidance: float = 1.0
    shift: float = 3.0
    levers: tuple[str, ...] = ()
    """Whose quality is measured: names, `NAME=VALUE`, several with + between them, or presets with a colon before them,
    such as ":fast"."""
    windows: int = 8
    """Made with each lever."""
    weights: str = "nano"
    """Of the metrics: nano, published or random."""
    processes: tuple[int, ...] = ()
    """Numbers of processes that share one window."""
    threads: int = 1
    """Of a CPU. With one, ratios are of CPU time, which others on the machine disturb least; else of time by the wall
    clock, as on a GPU."""
    seed: int = 0

    def check(self) -> None:
        """Raise RecipeError where something is out of range."""
        if self.kind not in KINDS:
            raise RecipeError(f"{self.kind}: no such work; choose {', '.join(KINDS)}")
        for arm in self.arms:
            if arm not in ARMS:
                raise RecipeError(f"--arms {arm}: no such arm; choose {', '.join(ARMS)}")
        if not self.sizes or min(self.ranks, default=-1) < 0:
            raise RecipeError("--shapes, --ranks: give one size at least, and ranks of 0 and up")
        if self.precision not in ("fp32", "bf16"):
            raise RecipeError(f"--precision {self.precision}: choose fp32 or bf16")
        if self.weights not in ("nano", "published", "random"):
            raise RecipeError(f"--weights {self.weights}: choose nano, published or random")
        if len(set(self.sizes)) < len(self.sizes) or len(set(self.ranks)) < len(self.ranks):
            raise RecipeError("--shapes, --ranks: one is there twice; give each once")

    @property
    def adapted(self) -> list[int]:
        """Ranks with an adapter, smallest first."""
        return sorted(rank for rank in self.ranks if rank)

    def cells(self) -> Iterator[Cell]:
        """Yield all cells, the base of each size first."""
        for size in self.sizes:
            yield Cell(BASE, 0, size)
            yield Cell(CONTROL, 0, size)
            for arm in self.arms:
                ranks = [0, *self.adapted] if arm == "compiled" else self.adapted
                yield from (Cell(arm, rank, size) for rank in ranks)
