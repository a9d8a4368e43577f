"""How many processes should do what: from sizes and published scaling, with a sentence that says why.

Chains side by side cost nothing, as long as there are enough of them. Two halves for guidance exchange one answer a
step. Sharing tokens exchanges all of them four times a block. Sharding moves all weights at every forward pass, and is
taken only where they do not fit otherwise.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from cinetune.errors import RecipeError
from cinetune.generate.parallel.assign import assign
from cinetune.generate.parallel.degrees import Degrees, check_fit
from cinetune.ops.flops import Shape, Sizes
from cinetune.ops.memory import Precision, Setup, forward_memory, weight_bytes

EXCHANGE = 0.021
"""What sharing tokens adds, as a share of the time on one process, times (n - 1) / n for n processes: 1 / (1/n + that)
is 1.96, 3.76 and 6.97 for 2, 4 and 8. Wan2.1 I2V 14B at 720p on A100s with NVLink takes 2715.5 s on one and 1371.7,
716.1 and 389.7 s on these: 1.98, 3.79 and 6.97 (Wan-Video/Wan2.1 README.md, assets/comp_effic.png; with FSDP)."""


@dataclass(frozen=True)
class Work:
    """What is to be made, and with what."""

    sizes: Sizes
    shapes: tuple[Shape, ...]
    """Of every length of window."""
    chains: tuple[float, ...]
    """What each chain of windows costs, in any one unit."""
    guided: bool
    """Whether there is guidance."""
    precision: Precision = "bf16"
    """Of the weights."""
    experts: int = 1
    """Networks held at the same time; 2 for Wan2.2 A14B."""
    memory: int | None = None
    """Bytes of one device that a network may take; None where weights fit for certain, as on a CPU."""

    @property
    def tokens(self) -> dict[int, int]:
        """Tokens of every length of window, by its number of frames."""
        return {shape.frames: shape.tokens(self.sizes.patch_size) for shape in self.shapes}


class Plan(NamedTuple):
    """What was chosen."""

    degrees: Degrees
    told: str
    """Why, in a sentence for the user."""


class _Option(NamedTuple):
    degrees: Degrees
    seconds: float
    """In the unit of the chains."""
    need: int
    """Bytes of a device."""
    fits: bool


def plan(world: int, work: Work) -> Plan:
    """Return the fastest way to share the work among `world` processes that fits; of equals, that with most segments.

    Raises:
        RecipeError: one length of window is not of a legal size, or no way uses all processes.
    """
    options = sorted(_options(world, work), key=_better)
    if not options:
        heads, tokens = work.sizes.num_attention_heads, ", ".join(map(str, work.tokens.values()))
        fewer = next(n for n in range(world - 1, 0, -1) if any(_options(n, work)))
        raise RecipeError(f"{world} processes cannot share {len(work.chains)} chains, {heads} attention heads and "
                          f"windows of {tokens} tokens evenly; start {fewer}")  # fmt: skip
    best = options[0]
    if world == 1:
        return Plan(best.degrees, "1 process")
    others = [option for option in options[1:] if _shape(option) != _shape(best)]
    told = f"{world} processes: {_words(best)}, {_speed(best, work)} times as fast as one"
    if others:
        told += f"; {_words(others[0])} would be {_speed(others[0], work)} times"
    if not best.fits:
        told += (f"; by estimate a device then needs {_gib(best.need)} and has {_gib(work.memory or 0)}: "
                 "see `cinetune doctor`")  # fmt: skip
    elif best.degrees.shard:
        whole = replace(best.degrees, shard=False)
        told += f"; whole weights would need {_gib(_need(whole, work))} of a device's {_gib(work.memory or 0)}"
    return Plan(best.degrees, told)


def check(degrees: Degrees, work: Work) -> None:
    """Refuse degrees that the user gave and the work does not allow, before any of it is done.

    Raises:
        RecipeError: guidance is off, or heads or tokens of one length of window do not divide.
    """
    check_fit(degrees, work.sizes.num_attention_heads, work.tokens, guided=work.guided)


def _options(world: int, work: Work) -> Iterator[_Option]:
    """All ways that use all processes, each sharded only where it has to be."""
    for segments in range(1, min(world, max(1, len(work.chains))) + 1):
        for guidance in (1, 2):
            if world % (segments * guidance):
                continue
            degrees = Degrees(segments, guidance, world // (segments * guidance))
            try:
                check(degrees, work)
            except RecipeError:
                continue
            ways = [degrees] + [replace(degrees, shard=True)] * (degrees.group > 1)
            found = [_Option(way, _seconds(way, work), need, _fits(need, work))
                     for way in ways for need in [_need(way, work)]]  # fmt: skip
            yield next((option for option in found if option.fits), found[-1])


def _better(option: _Option) -> tuple[bool, float, int, int]:
    """What fits, is fast, exchanges little; where nothing fits, what needs least."""
    degrees = option.degrees
    return not option.fits, option.seconds if option.fits else option.need, -degrees.segments, -degrees.guidance


def _seconds(degrees: Degrees, work: Work) -> float:
    chains = [[("", cost)] for cost in work.chains] or [[("", 1.0)]]
    longest = max(sum(chains[n][0][1] for n in share) for share in assign(chains, degrees.segments))
    n = degrees.ulysses
    return longest / degrees.guidance * (1 / n + EXCHANGE * (n - 1) / n)


def _need(degrees: Degrees, work: Work) -> int:
    if work.memory is None:
        return 0
    shards = degrees.group if degrees.shard else 1
    setup = Setup(precision=work.precision, shards=shards, ulysses=degrees.ulysses)
    passes = max(sum(forward_memory(work.sizes, shape, setup).values()) for shape in work.shapes)
    more = (work.experts - 1) * sum(weight_bytes(work.sizes, work.precision).values()) // shards
    return passes + more


def _fits(need: int, work: Work) -> bool:
    return work.memory is None or need <= work.memory


def _shape(option: _Option) -> tuple[int, int, int]:
    return option.degrees.segments, option.degrees.guidance, option.degrees.ulysses


def _words(option: _Option) -> str:
    d = option.degrees
    parts = [f"{d.segments} chains side by side"] * (d.segments > 1) + ["2 halves for guidance"] * (d.guidance > 1)
    parts += [f"{d.ulysses} share the tokens"] * (d.ulysses > 1)
    return " x ".join(parts) + ", weights sharded" * d.shard


def _speed(option: _Option, work: Work) -> str:
    return f"{(sum(work.chains) or 1.0) / option.seconds:.1f}"


def _gib(size: int) -> str:
    return f"{size / 2**30:.0f} GiB"
