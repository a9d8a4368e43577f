"""Which group of processes makes which chains of windows."""

from collections.abc import Container, Sequence

Chain = Sequence[tuple[str, float]]
"""Windows in the order in which they are made, each with its name and its cost in any one unit. A window needs those
before it in its chain, and nothing of other chains."""


def assign(chains: Sequence[Chain], groups: int, done: Container[str] = ()) -> list[list[int]]:
    """Return, for each group, the places in `chains` of those that it makes, in that order.

    The longest goes first, to the group that has least to do (Graham 1969, SIAM J. Appl. Math. 17(2): at most 4/3 of
    the shortest time). The same everywhere for the same arguments; of equals, the first.

    Args:
        chains: all of them.
        groups: of processes, at least 1.
        done: names of windows that are made already and cost nothing; a chain of such alone is nobody's.
    """
    left = {place: cost_left(chain, done) for place, chain in enumerate(chains)}
    shares: list[list[int]] = [[] for _ in range(groups)]
    loads = [0.0] * groups
    for place in sorted(left, key=lambda place: (-left[place], place)):
        if all(name in done for name, _ in chains[place]):
            continue
        group = loads.index(min(loads))
        shares[group].append(place)
        loads[group] += left[place]
    return shares


def cost_left(chain: Chain, done: Container[str] = ()) -> float:
    """Return what a chain still costs."""
    return sum(cost for name, cost in chain if name not in done)
