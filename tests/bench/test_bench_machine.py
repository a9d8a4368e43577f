"""What the bench changes on its machine, and puts back."""

import torch

from cinetune.bench.machine import compiled_one_by_one


def test_kernels_of_the_cells_do_not_count_against_what_is_compiled_later() -> None:
    """torch counts them by function, and every network's blocks are one function."""
    double = torch.compile(lambda x: 2 * x, fullgraph=True, backend="eager")
    with compiled_one_by_one():
        for n in range(2, 14):
            assert double(torch.ones(n)).sum() == 2 * n
    for n in range(20, 24):
        assert double(torch.ones(n)).sum() == 2 * n
