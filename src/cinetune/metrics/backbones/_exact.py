"""Convolutions in full float32 on a GPU too."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact() -> Iterator[None]:
    """Keep cuDNN from rounding the inputs of float32 convolutions to TF32's 10 bits of mantissa, as it does by default.

    Then a feature does not depend on the machine beyond the order of its sums. Elsewhere than on a GPU this is nothing.
    """
    with torch.backends.cudnn.flags(
        enabled=torch.backends.cudnn.enabled,
        benchmark=torch.backends.cudnn.benchmark,
        deterministic=torch.backends.cudnn.deterministic,
        allow_tf32=False,
    ):
        yield
