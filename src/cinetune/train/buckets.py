"""Which clips make up a step, where clips come in several sizes: a step's clips all have one.

The order of the sizes repeats after as many steps as there are clips. In such a round each size has as many steps as
it has clips, spread evenly, so that by the end of a round every clip has been seen equally often.
"""

from collections import Counter
from collections.abc import Sequence

from cinetune.train.data import indices


def step_items(step: int, clips_per_step: int, sizes: Sequence[int], seed: int) -> list[int]:
    """Return the clips of a step (from 0), by number; a function of its arguments alone.

    Within a size the clips come in an endless stream, each once a pass, in the order of `indices`.

    Args:
        clips_per_step: on all processes together.
        sizes: the number of its size for each clip.
        seed: of the order.
    """
    counts = Counter(sizes)
    round_, place = divmod(step, len(sizes))
    turns = _turns(counts)
    size = turns[place]
    before = round_ * counts[size] + turns[:place].count(size)
    members = [number for number, own in enumerate(sizes) if own == size]
    return [members[n] for n in indices(before * clips_per_step, clips_per_step, len(members), seed)]


def _turns(counts: Counter[int]) -> list[int]:
    """Return the size of each step of a round: turn j of c comes at (j + 1/2) / c of the round."""
    turns = [((j + 0.5) / count, size) for size, count in counts.items() for j in range(count)]
    return [size for _, size in sorted(turns)]
